"""Preparation: everything the embedded services need, downloaded and built side by side, once per user."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from dataharvest.errors import Misconfigured
from dataharvest.stack import java, kafka_jars, postgres_account, versitygw
from dataharvest.stack.cache import built_whole, cache_directory
from dataharvest.stack.files import locked
from dataharvest.stack.progress import DONE, Tell, shown

LAST_LINE_COUNT = 3


@dataclass(frozen=True)
class Step:
    """One thing to prepare."""

    name: str
    is_done: Callable[[], bool]
    carry_out: Callable[["Workshop", Callable[[str], None]], None]


@dataclass
class Workshop:
    """Runs the child processes of a preparation and ends them all when it is given up."""

    lock: int
    _children: list[subprocess.Popen[str]] = field(default_factory=list)
    _closed: bool = False

    def run(self, command: Sequence[str], *, environment: Mapping[str, str], tell: Callable[[str], None]) -> str | None:
        """Run a command, passing on each line it prints; gives its last words if it failed, else None."""
        with subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # A child that outlives us, because we were killed, keeps others from working in the same folder.
            pass_fds=(self.lock,),
        ) as child:
            self._children.append(child)
            if self._closed:
                child.terminate()
            last: list[str] = []
            for line in child.stdout or ():
                tell(line.strip())
                last = [*last[1 - LAST_LINE_COUNT :], line.strip()]
        return "; ".join(last) if child.returncode else None

    def close(self) -> None:
        """End what still runs."""
        self._closed = True
        for child in self._children:
            if child.poll() is None:
                child.terminate()


def prepare(steps: Sequence[Step] | None = None) -> None:
    """Prepare what is not prepared yet; returns at once when nothing is missing.

    Args:
        steps: what to prepare; ``STEPS``, all that the services need, if not given.

    Raises:
        Misconfigured: says what is missing and what to do.
    """
    wanted = STEPS if steps is None else steps
    if not _missing(wanted):
        return
    lock_path = cache_directory() / "prepare.lock"
    with locked(lock_path, waiting=lambda: print("another preparation is running; waiting for it", file=sys.stderr)) as lock:
        missing = _missing(wanted)
        if missing:
            with shown([step.name for step in missing]) as tell:
                _carry_out(missing, Workshop(lock), tell)


def _missing(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if not step.is_done()]


def _carry_out(steps: Sequence[Step], workshop: Workshop, tell: Tell) -> None:
    def one(step: Step) -> None:
        step.carry_out(workshop, lambda text: tell(step.name, text))
        tell(step.name, DONE)

    with ThreadPoolExecutor(len(steps)) as threads:
        try:
            for finished in as_completed([threads.submit(one, step) for step in steps]):
                finished.result()
        finally:
            workshop.close()


def _fetch_kafka(workshop: Workshop, tell: Callable[[str], None]) -> None:
    java.find_java()
    tell(f"downloading Kafka {kafka_jars.KAFKA_VERSION} (about half a minute)")
    package_parent = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (package_parent, os.environ.get("PYTHONPATH"))))}
    with built_whole(kafka_jars.jars_directory()) as partial:
        failure = workshop.run(kafka_jars.fetch_command(partial), environment=environment, tell=tell)
        if failure is not None:
            raise Misconfigured(f"Kafka could not be prepared: {failure}")
        kafka_jars.keep_only_jars(partial)


def _build_gateway(workshop: Workshop, tell: Callable[[str], None]) -> None:
    tell(f"building versitygw {versitygw.VERSION} (about a minute)")
    with built_whole(versitygw.gateway_directory()) as partial:
        environment = versitygw.build_environment(partial)
        go = versitygw.find_go(environment)
        failure = workshop.run(versitygw.build_command(go), environment=environment, tell=tell)
        if failure is not None:
            raise Misconfigured(f"the S3 server could not be built: {failure}")
        versitygw.keep_only_program(partial)


def _copy_postgres(_: Workshop, tell: Callable[[str], None]) -> None:
    tell("copying PostgreSQL to where an account other than root can run it")
    postgres_account.copy_binaries()


STEPS = (
    Step("kafka", lambda: kafka_jars.jars_directory().exists(), _fetch_kafka),
    Step("s3", lambda: versitygw.gateway_directory().exists(), _build_gateway),
    Step("postgres", postgres_account.binaries_ready, _copy_postgres),
)
