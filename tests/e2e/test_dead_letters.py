"""`dataharvest dead-letters` as a person uses it, on a message that no stage could take."""

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.kills.world import eventually

GARBAGE = b'{"Records": [{"s3": \xff\x00 what nobody can read'


@pytest.fixture
def outside(stack_environment: dict[str, str], running_workers: RunWorkers) -> Iterator[Outside]:
    made = Outside(stack_environment)
    with running_workers(1):
        yield made
    made.s3.close()


async def test_a_letter_is_listed_shown_replayed_and_its_copy_discarded(outside: Outside, dataharvest: Command) -> None:
    async def answer(*words: str, code: int = 0) -> Any:
        done = await asyncio.to_thread(dataharvest, "dead-letters", *words, "--json")
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout)

    async def kept(partition: int, offset: int) -> str:
        place = "(topic, topic_partition, topic_offset) = ('uploads', $1, $2)"
        query = f"SELECT letter_offset IS NOT NULL FROM dead_letter WHERE {place}"

        async def is_kept() -> bool:
            return [row[0] for row in await outside.query(query, partition, offset)] == [True]

        await eventually(is_kept, what="the dead letter", within_s=60)
        return f"uploads:{partition}:{offset}"

    name = await kept(*await outside.send_event(GARBAGE, partition=1))
    [row] = [one for one in await answer("list", "--topic", "uploads", "--stage", "register") if one["message"] == name]
    assert (row["rule"], row["state"]) == ("unreadable_event", "open")
    assert base64.b64decode((await answer("show", name))["value"]) == GARBAGE

    [planned] = await answer("replay", name, "--plan")
    assert (planned["done"], planned["outcome"]) == (False, f"{name} would be sent again")
    [first] = await answer("replay", name, "--by", "anna")
    [second] = await answer("replay", name, "--by", "ben")
    assert (first["done"], second["done"]) == (True, False)
    [action] = await answer("history", name)
    assert (action["action"], action["by"]) == ("replayed", "anna")

    _, partition, offset = action["sent_to"].split(":")
    [copy] = [one for one in await outside.records("uploads") if (one.partition, one.offset) == (int(partition), int(offset))]
    assert (copy.value, copy.headers) == (GARBAGE, (("replayed_from", name.encode()),))
    copy_name = await kept(int(partition), int(offset))
    [discarded] = await answer("discard", copy_name, "--reason", "a test's", "--by", "anna")
    assert discarded["done"]
    assert copy_name not in {one["message"] for one in await answer("list")}
    assert [one["reason"] for one in await answer("history", copy_name)] == ["a test's"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("show", "work:0:123456789"), "there is no dead letter work:0:123456789"),
        (("list", "--rule", "nosuch"), "no rule of a message is called 'nosuch'"),
    ],
)
def test_what_is_not_there_is_wrong_usage(dataharvest: Command, words: tuple[str, ...], sentence: str) -> None:
    done = dataharvest("dead-letters", *words)
    assert done.returncode == 2
    assert sentence in " ".join(done.stderr.split())
