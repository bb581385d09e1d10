"""A worker says in one sentence why it cannot start; and how one runs that can."""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import dataharvest as package
from dataharvest.adapters.kafka_admin import existing_topics
from dataharvest.adapters.postgres.schema import migrate
from dataharvest.harvest.workers import member_count
from dataharvest.topics import topics_directory
from tests.conftest import Command
from tests.e2e.outside import GROUP, Outside, execute, scratch_database
from tests.e2e.sets import make_set, values_of
from tests.kills.world import eventually
from tests.programs import PROGRAM

EXIT_MISCONFIGURED = 78
FAUST_WORKER = [str(Path(PROGRAM).with_name("faust")), "-A", "dataharvest", "worker"]
REFUSED = {"DATAHARVEST_APP_ID": "refused"}


@pytest.fixture
async def empty_database(stack_environment: dict[str, str]) -> AsyncIterator[str]:
    async with scratch_database(stack_environment) as url:
        yield url


def sentence_of(done: "subprocess.CompletedProcess[str]", *, code: int) -> str:
    """The one line with which the program ended; no traceback anywhere."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("dataharvest: ")]
    return line


async def test_a_worker_refuses_a_database_that_was_never_migrated(dataharvest: Command, empty_database: str) -> None:
    done = await asyncio.to_thread(dataharvest, "worker", DATAHARVEST_DATABASE_URL=empty_database, **REFUSED)

    assert "run `dataharvest migrate`" in sentence_of(done, code=EXIT_MISCONFIGURED)


@pytest.mark.parametrize(("revision", "advice"), [("9999", "newer version"), (None, "dataharvest migrate")])
async def test_a_worker_refuses_a_database_of_another_version(
    dataharvest: Command, empty_database: str, revision: str | None, advice: str
) -> None:
    await migrate(empty_database)
    change = f"UPDATE alembic_version SET version_num = '{revision}'" if revision else "DELETE FROM alembic_version"
    await execute(empty_database, change)

    done = await asyncio.to_thread(dataharvest, "worker", DATAHARVEST_DATABASE_URL=empty_database, **REFUSED)

    sentence = sentence_of(done, code=EXIT_MISCONFIGURED)
    assert advice in sentence
    assert (revision or "nothing") in sentence


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        # As of an entity that was installed, or had another index, when `dataharvest migrate` did not know of it.
        ("DROP INDEX row_transactions_by_delivery", "index row_transactions_by_delivery"),
        ("ALTER TABLE row_transactions DROP COLUMN keyword", "row_transactions.keyword"),
    ],
)
async def test_a_worker_refuses_a_table_of_rows_that_is_not_as_its_entity_says(
    dataharvest: Command, empty_database: str, change: str, missing: str
) -> None:
    await migrate(empty_database)
    await execute(empty_database, change)

    done = await asyncio.to_thread(dataharvest, "worker", DATAHARVEST_DATABASE_URL=empty_database, **REFUSED)

    assert f"lacks {missing}: run `dataharvest migrate`" in sentence_of(done, code=EXIT_MISCONFIGURED)


@pytest.fixture
def wanting_other_topics(tmp_path: Path) -> str:
    """A place from which the program runs with other topic files: one topic more, one partition more, some fewer."""
    (tmp_path / "dataharvest").symlink_to(Path(package.__file__).parent)
    topics = Path(shutil.copytree(topics_directory(), tmp_path / "topics"))
    _change(topics / "uploads.yaml", "partitions: 4", "partitions: 5")
    _change(topics / "chunks.yaml", "partitions: 16", "partitions: 12")
    shutil.copy(topics / "work.yaml", topics / "more-work.yaml")
    _change(topics / "more-work.yaml", "name: work", "name: more-work")
    return str(tmp_path)


def _change(path: Path, before: str, after: str) -> None:
    text = path.read_text("utf-8")
    assert text.count(before) == 1
    path.write_text(text.replace(before, after), "utf-8")


def test_a_worker_refuses_topics_that_are_missing_or_different(dataharvest: Command, wanting_other_topics: str) -> None:
    done = dataharvest("worker", PYTHONPATH=wanting_other_topics, **REFUSED)

    sentence = sentence_of(done, code=EXIT_MISCONFIGURED)
    assert "topic more-work is missing: run `dataharvest topics apply`" in sentence
    assert "topic uploads has 4 partitions, 5 are needed: run `dataharvest topics apply`" in sentence
    assert re.search(r"topic chunks has 16 partitions, 12 are needed: .* delete the topic by hand", sentence)


def test_a_plan_shows_what_would_change_and_changes_nothing(
    dataharvest: Command, wanting_other_topics: str, stack_environment: dict[str, str]
) -> None:
    before = asyncio.run(existing_topics(stack_environment["DATAHARVEST_BROKER"]))

    as_is = dataharvest("topics", "plan")
    other = dataharvest("topics", "plan", PYTHONPATH=wanting_other_topics)

    assert (as_is.returncode, as_is.stdout) == (0, "all topics are as they should be\n"), as_is.stderr
    assert other.returncode == 0, other.stderr
    first, second, third = other.stdout.splitlines()
    assert first.startswith("chunks differs and cannot be changed here: it has 16 partitions, 12 are needed")
    assert second.startswith("create more-work with 16 partitions")
    assert third.startswith("raise uploads from 4 to 5 partitions")
    assert asyncio.run(existing_topics(stack_environment["DATAHARVEST_BROKER"])) == before


@pytest.mark.parametrize("words", ["worker", "migrate", "topics plan", "status"])
def test_missing_settings_are_one_sentence(dataharvest: Command, tmp_path: Path, words: str) -> None:
    done = dataharvest(*words.split(), DATAHARVEST_HOME=str(tmp_path))

    sentence = sentence_of(done, code=EXIT_MISCONFIGURED)
    assert {"DATAHARVEST_BROKER", "DATAHARVEST_DATABASE_URL", "DATAHARVEST_S3_BUCKET"} <= set(re.findall(r"[A-Z_0-9]+", sentence))
    assert "`dataharvest stack up`" in sentence


def test_missing_settings_are_one_sentence_for_faust_too(tmp_path: Path) -> None:
    environment = {**os.environ, "DATAHARVEST_HOME": str(tmp_path)}

    done = subprocess.run(FAUST_WORKER, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert "DATAHARVEST_BROKER" in sentence_of(done, code=EXIT_MISCONFIGURED)


async def test_faust_itself_runs_a_worker_that_works_and_ends_when_asked(
    stack_environment: dict[str, str], tmp_path: Path
) -> None:
    outside, files = Outside(stack_environment), make_set("by-faust")
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(FAUST_WORKER, env={**os.environ, **stack_environment}, cwd=tmp_path, stdout=log, stderr=log)
    try:

        async def joined() -> bool:
            assert process.poll() is None, (tmp_path / "worker.log").read_text()
            return await member_count(outside.broker, GROUP) == 1

        await eventually(joined, what="a worker in the group", within_s=60)
        await outside.put_set(files)
        await outside.published([files.tenant])
        [messages] = (await outside.outbound(files.tenant)).values()
        assert values_of(messages, of=files) == files.outbound

        asked_at = time.monotonic()
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0
        assert time.monotonic() - asked_at < 10
    finally:
        process.kill()
        process.wait()
        outside.s3.close()
