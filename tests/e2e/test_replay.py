"""Sent once more, in every way there is: nothing changes, nothing is published, and live files do not wait."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from dataharvest.messages import decode_chunk
from tests.e2e.sets import make_set, values_of
from tests.e2e.site import CONSUMED, Site, site
from tests.kills.world import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXAMPLES = Path(__file__).parents[2] / "examples" / "acme"
FAST = {"DATAHARVEST_REPLAY_BYTES_PER_S": "1e9"}
OLD = make_set("old", transactions=400)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """Sets after a repeat, a rejected file, a correction, duplicates and a removal, and one of many chunks."""
    folder = tmp_path_factory.mktemp("replay")
    async with site(folder / "home") as made:
        async with made.workers(1, DATAHARVEST_CHUNK_BYTES="128"):
            await harvest_all(made, folder)
            await made.put_set(OLD)
            await made.published([OLD.tenant])
            await made.settled()
        yield made


async def harvest_all(made: Site, folder: Path) -> None:
    steps: list[tuple[int, dict[str, Callable[[bytes], bytes]]]] = [
        (0, dict.fromkeys(("accounts", "clients", "portfolios", "transactions"), lambda content: content)),
        (3, {"clients": lambda content: content, "accounts": lambda content: b"no header\n" + content}),
        (0, {"clients": lambda content: content.replace(b",801", b",900")}),
        (3, {"transactions": lambda content: content + content.splitlines(keepends=True)[1]}),
    ]
    for number, (code, edits) in enumerate(steps):
        files = folder / str(number)
        files.mkdir()
        for entity, edit in edits.items():
            [path] = EXAMPLES.glob(f"{entity}_*.csv")
            (files / path.name).write_bytes(edit(path.read_bytes()))
        done = await made.run("harvest", str(files), "--tenant", "acme")
        assert done.returncode == code, done.stderr
    removed = "SELECT bool_and(removed_at IS NOT NULL) FROM delivery WHERE state = 'superseded'"

    async def all_removed() -> bool:
        return bool(await made.one(removed))

    await eventually(all_removed, what="rows of superseded deliveries removed", within_s=60)


async def test_every_topic_from_offset_0_changes_no_row_and_publishes_nothing(place: Site) -> None:
    states = {one["state"] for one in await place.deliveries("acme")}
    assert {"complete", "repeat", "rejected", "superseded"} <= states
    before, outbound_count = await place.stored(), await place.outbound_count()
    for topic in ("uploads", "chunks"):
        plan = await place.run("replay", topic, "--from-offset", "0", "--plan")
        assert plan.returncode == 0, plan.stderr
        assert plan.stdout.endswith("nothing would be published: every stage knows all of it already\n")
    assert await place.query("SELECT * FROM replay") == []

    async with place.workers(1):
        for topic in CONSUMED:
            done = await place.run("replay", topic, "--from-offset", "0", "--rate", "100000", **FAST)
            assert done.returncode == 0, done.stderr
            assert " done: " in done.stdout
        await place.settled()

    assert await place.one("SELECT min(sent_count) FROM replay") > 0
    assert await place.stored() == before
    assert await place.outbound_count() == outbound_count


async def test_what_an_earlier_replay_sent_is_not_doubled(place: Site) -> None:
    plan = await place.run_through_faust("replay", "chunks", "--from-offset", "0", "--plan", "--json")
    assert plan.returncode == 0, plan.stderr
    found = json.loads(plan.stdout)
    original_count = await place.one("SELECT sent_count FROM replay WHERE topic = 'chunks' ORDER BY replay_id LIMIT 1")
    assert found["messages"] == original_count
    assert found["copies_left_out"] >= original_count


async def test_a_replay_is_interrupted_killed_and_resumed_without_leaving_one_out(place: Site) -> None:
    first = place.start("replay", "chunks", "--tenant", "old", "--rate", "5")
    number = await sent_some(place, more_than=0)
    os.kill(first.pid, signal.SIGINT)
    await ended(lambda: first.exit_code)
    assert first.exit_code == 130
    assert f"dataharvest replay --resume {number}" in first.log.read_text()
    sent_count = await place.one("SELECT sent_count FROM replay WHERE replay_id = $1", number)

    second = place.start("replay", "--resume", str(number), "--rate", "5")
    await sent_some(place, more_than=sent_count)
    busy = await place.run("replay", "chunks", "--from-offset", "0")
    assert (busy.returncode, busy.stderr) == (
        1,
        "dataharvest: chunks is being replayed by somebody else; `dataharvest replay --list` shows it\n",
    )
    os.kill(second.pid, signal.SIGKILL)
    await ended(lambda: second.exit_code)

    last = await place.run("replay", "--resume", str(number), "--rate", "100000")
    assert last.returncode == 0, last.stderr
    again = await place.run("replay", "--resume", str(number))
    assert again.returncode == 2
    assert f"replay {number} was done on" in again.stderr
    assert await copies_of(place, "old") == await originals_of(place, "old")


async def sent_some(place: Site, *, more_than: int) -> int:
    async def begun() -> bool:
        rows = await place.query("SELECT sent_count FROM replay WHERE ended_at IS NULL")
        return any(row[0] > more_than for row in rows)

    await eventually(begun, what="a replay on its way", within_s=60)
    return int(await place.one("SELECT replay_id FROM replay WHERE ended_at IS NULL"))


async def ended(exit_code: Callable[[], int | None]) -> None:
    async def has_ended() -> bool:
        return exit_code() is not None

    await eventually(has_ended, what="the command ended", within_s=30)


async def originals_of(place: Site, tenant: str) -> set[bytes]:
    """Places of the tenant's chunks that the splitter sent."""
    found = set()
    for one in await place.records("chunks"):
        if not one.headers and one.value and decode_chunk(one.value)[0].tenant == tenant:
            found.add(f"chunks:{one.partition}:{one.offset}".encode())
    return found


async def copies_of(place: Site, tenant: str) -> set[bytes]:
    """Where the tenant's chunks that were sent again came from."""
    found = set()
    for one in await place.records("chunks"):
        if one.headers and one.value and decode_chunk(one.value)[0].tenant == tenant:
            found |= {value for name, value in one.headers if name == "replayed_from"}
    return found


async def test_live_files_do_not_wait_for_a_replay(place: Site) -> None:
    live = [make_set(f"live-{number}", transactions=40) for number in range(4)]
    async with place.workers(2, DATAHARVEST_CHUNK_BYTES="256"):
        await place.settled()
        before = await place.query("SELECT t::text FROM chunk t WHERE tenant IN ('acme', 'old') ORDER BY 1")
        replay = place.start("replay", "chunks", "--to-offset", "1000000", "--tenant", "old", "--rate", "5")
        number = await sent_some(place, more_than=0)
        delays = []
        for files in live:
            began = time.monotonic()
            await place.put_set(files)
            await place.published([files.tenant])
            delays.append(time.monotonic() - began)
        assert replay.is_alive, replay.log.read_text()
        os.kill(replay.pid, signal.SIGINT)
        await ended(lambda: replay.exit_code)
        rest = await place.run("replay", "--resume", str(number), "--rate", "100000")
        assert rest.returncode == 0, rest.stderr
        await place.settled()

    print(f"live sets published after {', '.join(f'{delay:.1f}' for delay in delays)} s while chunks were replayed")
    for files in live:
        [messages] = (await place.outbound(files.tenant)).values()
        assert values_of(messages, of=files) == files.outbound
    assert await place.query("SELECT t::text FROM chunk t WHERE tenant IN ('acme', 'old') ORDER BY 1") == before


async def test_offsets_are_set_back_only_while_no_worker_runs(place: Site) -> None:
    before, outbound_count = await place.stored(), await place.outbound_count()
    async with place.workers(1):
        refused = await place.run("offsets", "reset", *CONSUMED, "--to-earliest")
        assert refused.returncode == 1
        assert refused.stderr.startswith("dataharvest: 1 worker is in the group: stop it first")
        assert "is in the group" in (await place.run("offsets", "show")).stdout
    plan = await place.run("offsets", "reset", *CONSUMED, "--to-earliest", "--plan", "--json")
    assert {one["target"] for one in json.loads(plan.stdout)} == {0}
    done = await place.run("offsets", "reset", *CONSUMED, "--to-earliest")
    assert done.returncode == 0, done.stderr
    shown = json.loads((await place.run("offsets", "show", "--json")).stdout)
    assert all(one["committed"] in (0, None) for one in shown["partitions"])
    assert sum(one["lag"] for one in shown["partitions"] if one["topic"] == "chunks") == len(await place.records("chunks"))
    skipping = await place.run("offsets", "reset", "chunks", "--to-time", "2999-01-01")
    assert skipping.returncode == 1
    assert "add --skip-unread" in skipping.stderr
    beyond = await place.run("offsets", "reset", "chunks", "--partition", "3", "--to-offset", "1000000")
    assert beyond.returncode == 2

    async with place.workers(1):
        await place.settled()
    assert await place.stored() == before
    assert await place.outbound_count() == outbound_count


async def test_what_retention_has_removed_is_said_and_read_from_the_bucket(place: Site) -> None:
    before = await place.stored()
    originals = {decode_chunk(one.value) for one in await place.records("chunks") if not one.headers and one.value}
    await cut(place, "chunks", partition=3)

    late = await place.run("replay", "chunks", "--partition", "3", "--from-offset", "0")
    assert late.returncode == 0
    assert "partition 3: offsets 0 to " in late.stderr
    assert "add --from-s3" in late.stderr
    assert "nothing to replay" in late.stdout

    plan = await place.run("replay", "chunks", "--partition", "3", "--from-offset", "0", "--from-s3", "--plan")
    assert plan.stdout.endswith("nothing would be published: every stage knows all of it already\n")
    done = await place.run("replay", "chunks", "--from-offset", "0", "--from-s3", "--rate", "100000", **FAST)
    assert done.returncode == 0, done.stderr
    sent = [one for one in await place.records("chunks") if any(value and value.startswith(b"s3:") for _, value in one.headers)]
    counting = await place.one("SELECT count(*) FROM chunk JOIN delivery USING (delivery_id) WHERE state = 'complete'")
    assert len(sent) == counting
    assert {decode_chunk(one.value) for one in sent if one.value} <= originals
    async with place.workers(1):
        await place.settled()
    assert await place.stored() == before


async def cut(place: Site, topic: str, *, partition: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=place.broker)
    await admin.start()
    try:
        end = max(one.offset for one in await place.records(topic) if one.partition == partition) + 1
        await admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=end)})
    finally:
        await admin.close()


async def test_a_file_that_was_replaced_under_its_name_is_not_sent_as_what_it_was(place: Site) -> None:
    await asyncio.to_thread(delete_versions, place, OLD.object_key("clients"))
    done = await place.run("replay", "chunks", "--tenant", "old", "--from-s3", "--rate", "100000", **FAST)
    assert done.returncode == 1
    assert "can't be read again" in done.stderr
    assert "go on with: dataharvest replay --resume" in done.stderr


def delete_versions(place: Site, key: str) -> None:
    listed = place.s3.list_object_versions(Bucket=place.bucket, Prefix=key)
    for one in listed.get("Versions", []):
        place.s3.delete_object(Bucket=place.bucket, Key=key, VersionId=one["VersionId"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("chunks", "--tenant", "nobody"), "nothing of nobody ever arrived"),
        (("chunks", "--partition", "99", "--from-offset", "0"), "chunks has the partitions 0 to 15, not 99"),
        (("--resume", "4711"), "there is no replay 4711"),
    ],
)
async def test_what_is_not_there_is_wrong_usage(place: Site, words: tuple[str, ...], sentence: str) -> None:
    done = await place.run("replay", *words)
    assert done.returncode == 2
    assert sentence in done.stderr
