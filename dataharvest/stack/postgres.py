"""The embedded PostgreSQL."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from dataharvest.errors import Misconfigured, Unavailable
from dataharvest.stack import ports, processes
from dataharvest.stack.files import write_atomically
from dataharvest.stack.postgres_account import can_enter, data_directory_outside, installed_binaries, server_account
from dataharvest.stack.processes import Account, as_account
from dataharvest.stack.service import Service

DATABASE = "dataharvest"
OWNER = "dataharvest"
PLACE = "postgres_data"
ORPHAN_WAIT_S = 5.0

SETTINGS = {
    "listen_addresses": ports.HOST,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # New rows are vacuumed a few million at a time.
    "autovacuum_naptime": "5s",
    # A vacuum waits for the log whenever it has gone through this much, and nobody can tell the indexes of new rows meanwhile.
    "vacuum_buffer_usage_limit": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""What differs from PostgreSQL's own defaults; ``fsync`` and ``synchronous_commit`` stay on."""


class Postgres(Service):
    """The database server of a stack. After a crash everything committed is there, on the same port."""

    name = "postgres"
    port_names = ("postgres",)
    program = "postgres"
    # "Fast": open transactions are rolled back; waiting for clients to leave could take for ever.
    stop_signal = signal.SIGINT

    def binary(self, name: str) -> Path:
        """One of PostgreSQL's programs, for example ``psql``."""
        binaries = installed_binaries()
        if binaries is None:
            raise Misconfigured("PostgreSQL is not prepared; run: dataharvest stack up")
        return binaries / name

    @property
    def url(self) -> str:
        """How clients connect."""
        return f"postgresql://{OWNER}:{self.home.secret('postgres')}@{self.address}/{DATABASE}"

    def account(self) -> Account | None:
        """Ourselves, unless we are root."""
        return server_account()

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        settings = [f"--{name}={value}" for name, value in (SETTINGS | {"port": str(self.port)}).items()]
        return [str(self.binary("postgres")), "-D", self.distinctive_argument(), *settings]

    def distinctive_argument(self) -> str:
        """The path of this stack's data directory."""
        return str(self._data)

    def process_environment(self) -> Mapping[str, str]:
        """Ours without settings for other PostgreSQL servers and clients."""
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

    def is_ready(self) -> bool:
        """Whether it accepts connections, with recovery after a crash finished."""
        command = [str(self.binary("pg_isready")), "-q", "-h", ports.HOST, "-p", str(self.port)]
        return subprocess.run(command, env=dict(self.process_environment()), check=False).returncode == 0

    def prepare_data(self) -> None:
        """Make the data directory with its database when there is none; clear away what a crash left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if not self._data.exists():
            self._choose_place()
            self._initialise()
        end_orphans(self._data)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def erase(self) -> None:
        """Remove data kept outside of the home. Only when the server is stopped."""
        outside = self.home.state().facts.get(PLACE)
        if outside is not None:
            shutil.rmtree(outside, ignore_errors=True)

    @property
    def _data(self) -> Path:
        outside = self.home.state().facts.get(PLACE)
        return self.directory / "data" if outside is None else Path(outside) / "data"

    def _choose_place(self) -> None:
        account = self.account()
        with self.home.changing() as state:
            state.facts.pop(PLACE, None)
            if account is not None and not can_enter(self.directory, account):
                outside = data_directory_outside(self.home.path)
                _make_empty(outside)
                state.facts[PLACE] = str(outside)
        if self._data.parent != self.directory:
            link = self.directory / "data-is-there"
            link.unlink(missing_ok=True)
            link.symlink_to(self._data.parent)
        self._data.parent.chmod(0o755)

    def _initialise(self) -> None:
        partial = self._data.with_name("data.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        password_file = self._data.with_name("password")
        write_atomically(password_file, self.home.secret("postgres"))
        account = self.account()
        if account is not None:
            os.chown(partial, account.uid, account.gid)
            os.chown(password_file, account.uid, account.gid)
        access = ["-U", OWNER, "--auth=scram-sha-256", f"--pwfile={password_file}"]
        text = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        self._run([str(self.binary("initdb")), "-D", str(partial), *access, *text])
        self._run([str(self.binary("postgres")), "--single", "-D", str(partial), "postgres"], f"CREATE DATABASE {DATABASE}\n")
        password_file.unlink()
        partial.rename(self._data)

    def _run(self, command: Sequence[str], typed: str = "") -> None:
        done = subprocess.run(
            command,
            input=typed,
            capture_output=True,
            text=True,
            env=dict(self.process_environment()),
            cwd="/",
            check=False,
            **as_account(self.account()),
        )
        if done.returncode != 0:
            raise Unavailable(f"PostgreSQL's data directory could not be made: {done.stderr.strip()}")


def end_orphans(data: Path) -> None:
    """Wait for, then kill, the sessions of a server that was killed; they end by themselves as soon as they notice.

    Only when none is left may a new server use ``data``: it shares memory and files with them.
    """
    deadline = time.monotonic() + ORPHAN_WAIT_S
    while orphans := processes.running_in(data, program=Postgres.program):
        if time.monotonic() > deadline:
            for orphan in orphans:
                _kill_if_there(orphan)
        time.sleep(processes.POLL_S)


def _kill_if_there(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def _make_empty(directory: Path) -> None:
    # An earlier stack of the same home may have left its data there, even its server.
    end_orphans(directory / "data")
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o755)
