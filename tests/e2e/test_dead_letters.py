"""`dataharvest dead-letters` as a person uses it, on a message that no stage could take."""

import asyncio
import base64
import json
import shlex
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest

from dataharvest.rules.outbound_messages import Envelope, message_id
from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import BUSINESS_DATE, make_set, values_of
from tests.kills.world import eventually

DAY = date.fromisoformat(BUSINESS_DATE)
TAKE = """
INSERT INTO outbound_message (message_id, set_version_id, tenant, business_date, kind, reference, version, batch_index, withdrawn,
                      content_sha256, payload)
VALUES ($1, 0, 'dead-batch-other', $2, 'clients', $1, 1, 0, false, '', '')
"""
GARBAGE = b'{"Records": [{"s3": \xff\x00 what nobody can read'


@pytest.fixture(scope="module")
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


async def test_a_batch_that_was_dead_lettered_and_discarded_is_brought_on_by_the_command_that_status_prints(
    outside: Outside, dataharvest: Command
) -> None:
    files = make_set("dead-batch")
    taken = message_id(Envelope(files.tenant, DAY, 1, "clients", "client_reference"), files.rows["clients"][0][3])
    # A row that has the id of one of the messages: the database refuses the batch that brings it.
    await outside.query(TAKE, taken, DAY)
    await outside.put_set(files)

    async def shown() -> Any:
        done = await asyncio.to_thread(dataharvest, "status", "--tenant", files.tenant, "--json")
        return json.loads(done.stdout)["sets"]

    async def is_dead() -> bool:
        return bool(await outside.query("SELECT FROM dead_letter WHERE topic = 'work' AND rule = 'sqlstate_23505'"))

    await eventually(is_dead, what="the batch dead-lettered", within_s=60)
    [one] = await shown()
    dead = {rule["rule"]: rule["dead_letter_count"] for rule in one["rules"] if rule["dead_letter_count"]}
    assert dead == {"outbound.clients": 1}
    assert "1 batch of outbound.clients was dead-lettered (sqlstate_23505)" in one["why"]["sentence"]

    await outside.query("DELETE FROM outbound_message WHERE message_id = $1", taken)
    command = one["why"]["command"]
    [name] = command.removeprefix("dataharvest dead-letters replay ").split()
    done = await asyncio.to_thread(dataharvest, "dead-letters", "discard", name, "--reason", "a test's", "--by", "anna")
    assert done.returncode == 0, done.stderr
    [one] = await shown()
    assert "dead-lettered (sqlstate_23505) and discarded" in one["why"]["sentence"]
    assert one["why"]["command"] == command
    done = await asyncio.to_thread(dataharvest, *shlex.split(command)[1:])
    assert done.returncode == 0, done.stderr
    await outside.published([files.tenant])
    [messages] = (await outside.outbound(files.tenant)).values()
    assert values_of(messages, of=files) == files.outbound


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
