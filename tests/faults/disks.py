"""Small disks under a stack: file systems of their own, which can be filled without harm to anybody else.

They need root and mounts that nobody else sees: `in_own_mounts` starts the program again in such a namespace.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

MARK = "DATAHARVEST_FAULTS_OWN_MOUNTS"
FOLDERS = {"postgres": "1g", "kafka": "1g", "tables": "200m"}
"""Folders of the stack's home that get a file system of their own, and its size."""
FILLER = "filler"


def in_own_mounts() -> None:
    """Start this program again with mounts of its own, if that is possible and has not been done."""
    program = shutil.which("unshare")
    if MARK in os.environ or program is None or os.geteuid() != 0:
        return
    # In the namespace of this one command only; where it is made, a mount may be refused all the same.
    tried = [program, "-m", "mount", "-t", "tmpfs", "none", "/tmp"]  # noqa: S108
    if subprocess.run(tried, check=False, capture_output=True).returncode == 0:
        os.environ[MARK] = "1"
        os.execv(program, [program, "-m", sys.executable, "-m", "tests.faults", *sys.argv[1:]])


def mount_small_disks(home: Path) -> None:
    """Put small file systems under the stack's folders, if we have mounts of our own."""
    if MARK not in os.environ:
        return
    for name, size in FOLDERS.items():
        folder = home / name
        folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_mount():
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Leave no byte free on the folder's disk."""
    with (folder / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
