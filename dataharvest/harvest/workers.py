"""The workers of a harvest: started when none runs, supervised, and never left behind."""

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError

from dataharvest.errors import Misconfigured, Unavailable

_GRACE_S, _STOPPED_WITHIN_S = 15.0, 5.0
_STANDING = ("stopped", "tracing-stop", "zombie", "dead")
_REQUEST_TIMEOUT_MS = 10_000
# What `dataharvest supervise` does, without the time that Faust's command line takes to import, and bound to us: the
# kernel ends it when we are killed, which it has to ask for itself.
_SUPERVISOR = """
import os, signal, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
if os.getppid() != int(sys.argv[1]):
    sys.exit(0)
from dataharvest.cli.supervise import keep_running
sys.exit(keep_running(sys.argv[2:]))
"""


async def member_count(broker: str, group: str) -> int:
    """Members of the consumer group, as the broker knows them; one that was killed counts for some seconds more.

    Raises:
        Unavailable: the broker does not answer.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=broker, request_timeout_ms=_REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        answers = await admin.describe_consumer_groups([group])
    except GroupCoordinatorNotAvailableError:
        # On a fresh broker: nobody has ever been a member of any group.
        return 0
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(f"Kafka at {broker} does not answer: {error or type(error).__name__}") from error
    finally:
        await admin.close()
    # A group is (error, name, state, protocol type, protocol, members, …).
    return sum(len(found[5]) for answer in answers for found in answer.groups)


class Workers:
    """Worker processes that end with us."""

    def __init__(self, *, logs: Path) -> None:
        self._logs = logs
        self._processes: dict[Path, subprocess.Popen[bytes]] = {}

    def start(self, count: int) -> None:
        """Start workers, each under a supervisor that starts it again when it dies; their logs are ``worker-N.log``."""
        self._logs.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            log = self._logs / f"worker-{len(self._processes)}.log"
            with log.open("ab") as output:
                self._processes[log] = subprocess.Popen(
                    [sys.executable, "-I", "-c", _SUPERVISOR, str(os.getpid()), program(), "worker"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    # Ctrl-C on the terminal is for us; we end them.
                    start_new_session=True,
                )

    @property
    def logs(self) -> list[Path]:
        """The logs of the workers that were started."""
        return list(self._processes)

    def require_alive(self) -> None:
        """Raise Misconfigured, with the last line of its log, when a worker has ended for good."""
        for log, process in self._processes.items():
            if process.poll() is not None:
                raise Misconfigured(f"a worker ended with {process.returncode}: {_last_line(log)} (see {log})")

    async def stop(self) -> None:
        """Ask all workers to end, and kill those that do not."""
        for process in self._processes.values():
            process.terminate()
        deadline = asyncio.get_running_loop().time() + _GRACE_S
        while self._living() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        self.kill()

    def kill(self) -> None:
        """End at once what still runs, with its children."""
        for process in self._living():
            _kill_tree(process)
        self._processes.clear()

    def _living(self) -> list["subprocess.Popen[bytes]"]:
        return [process for process in self._processes.values() if process.poll() is None]


def program() -> str:
    """The executable `dataharvest` of this environment.

    Raises:
        Misconfigured: there is none.
    """
    installed = Path(sysconfig.get_path("scripts"), "dataharvest")
    found = str(installed) if installed.exists() else shutil.which("dataharvest")
    if found is None:
        raise Misconfigured("the program `dataharvest` is not installed beside this Python: install the package again")
    return found


def _kill_tree(process: "subprocess.Popen[bytes]") -> None:
    import psutil

    try:
        supervisor = psutil.Process(process.pid)
        # Stopped first: the worker that a running one starts while we look for its children would be nobody's.
        supervisor.suspend()
        deadline = time.monotonic() + _STOPPED_WITHIN_S
        while supervisor.status() not in _STANDING and time.monotonic() < deadline:
            time.sleep(0.001)
        children = supervisor.children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.kill()
    for child in children:
        # The identity is the pid with its moment of birth: nobody else's process is killed.
        if child.is_running():
            child.kill()
    process.wait()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1] if lines else "it said nothing"
