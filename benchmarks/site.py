"""A stack and workers of the benchmarks' own, and the peers' tools."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dataharvest.stack import Stack

_RESULTS = Path(__file__).parent / "results"
_PROGRAM = str(Path(sys.executable).parent / "dataharvest")


class Site:
    """Services under one folder; workers that belong to it.

    Args:
        home: the folder.
        program: what starts the program; its commands follow.
    """

    def __init__(self, home: Path, *, program: Sequence[str] = (_PROGRAM,)) -> None:
        self.home = home
        self._program = program
        self.stack = Stack(home)
        self.environment = {**os.environ, "DATAHARVEST_HOME": str(home)}

    def up(self) -> None:
        """Start the services and bring schema and topics to this version."""
        self.stack.up()
        self.command("migrate")
        self.command("topics", "apply")

    def command(self, *words: str) -> str:
        """Run one of the program's commands; its output."""
        return subprocess.run(self._words(*words), env=self.environment, check=True, capture_output=True, text=True).stdout

    def psql(self, statement: str) -> str:
        """Run a statement with psql; the bare result."""
        words = [*self._psql_words(), "-c", statement]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    def wait_for(self, condition: str, *, timeout_s: float) -> None:
        """Return once a condition in SQL holds; subprocess.TimeoutExpired when it does not in time.

        One session asks five times a second: to begin another one for each look costs 24 ms of processor time, which at
        ten looks a second is as much as an eighth of what two cores have for what is measured.
        """
        asked = f"SELECT 1 WHERE NOT ({condition}) \\watch i=0.2 min_rows=1\n"
        subprocess.run(self._psql_words(), input=asked, check=True, capture_output=True, text=True, timeout=timeout_s)

    def _psql_words(self) -> list[str]:
        url = self.stack.environment()["DATAHARVEST_DATABASE_URL"]
        return [str(self.stack.postgres_bin("psql")), url, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]

    def upload(self, path: Path, key: str) -> None:
        """Put a file into the bucket."""
        upload(self.stack.environment(), path, key)

    @contextmanager
    def workers(self, count: int, **variables: str) -> Iterator[list[int]]:
        """Worker processes and a splitter, as in the Procfile, with ``variables`` in their environment; their process ids."""
        environment = {**self.environment, "DATAHARVEST_SPLIT_IN_WORKER": "false", **variables}
        log = (self.home / "logs" / "benchmark.log").open("ab")
        commands = [*(["worker"] for _ in range(count)), ["split"]]
        running = [subprocess.Popen(self._words(*words), env=environment, stdout=log, stderr=log) for words in commands]
        try:
            yield [process.pid for process in running]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(timeout=60)
            log.close()

    def _words(self, *words: str) -> list[str]:
        return [*self._program, *words]


@contextmanager
def fresh_site(*, program: Sequence[str] = (_PROGRAM,)) -> Iterator[tuple[Site, Path]]:
    """A site that is up, and a folder for files; both are gone after the block."""
    with tempfile.TemporaryDirectory(prefix="dataharvest-bench-") as folder:
        site = Site(Path(folder) / "home", program=program)
        try:
            site.up()
            yield site, Path(folder)
        finally:
            site.stack.erase()


def keep_result(name: str, result: object) -> None:
    """Write what a benchmark found to ``benchmarks/results/NAME.json``."""
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def wait_until(condition: Callable[[], bool], *, timeout_s: float, poll_s: float = 0.1) -> None:
    """Return once the condition holds; TimeoutError when it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout_s:g} s")
        time.sleep(poll_s)


def upload(environment: Mapping[str, str], path: Path, key: str) -> None:
    """Put a file into the bucket that these settings name."""
    with uploading(environment) as put:
        put(path, key)


@contextmanager
def uploading(environment: Mapping[str, str]) -> Iterator[Callable[[Path, str], None]]:
    """A function that puts a file into the bucket under a key; threads may share it."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=environment["DATAHARVEST_S3_ENDPOINT_URL"],
        aws_access_key_id=environment["DATAHARVEST_S3_ACCESS_KEY"],
        aws_secret_access_key=environment["DATAHARVEST_S3_SECRET_KEY"],
        region_name=environment["DATAHARVEST_S3_REGION"],
        # The server copies the parts of gigabytes before it answers; asked again it no longer has them.
        config=Config(read_timeout=900),
    )
    bucket = environment["DATAHARVEST_S3_BUCKET"]
    try:
        yield lambda path, key: client.upload_file(str(path), bucket, key)
    finally:
        client.close()
