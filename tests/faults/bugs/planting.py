"""How each bug is planted: a function of the package is replaced by one that is wrong in the way the name says."""

import asyncio
import re
from collections.abc import Callable, Generator
from dataclasses import replace
from importlib import import_module
from typing import Any

from dataharvest.delivery import Delivery
from dataharvest.messages import decode_chunk
from dataharvest.rules.carrying import NOTHING, Carried
from dataharvest.rules.outbound_messages import LastMessage
from dataharvest.stages import fan_out
from tests.faults.bugs.poison import fall_ill

# As `Any`: what is replaced here is nobody's to replace.
pipeline: Any = import_module("dataharvest.pipeline")
persist: Any = import_module("dataharvest.stages.persist")
publish: Any = import_module("dataharvest.stages.publish")
progress: Any = import_module("dataharvest.rules.progress")
chunks: Any = import_module("dataharvest.adapters.postgres.chunks")
judgement: Any = import_module("dataharvest.adapters.postgres.judgement")


def plant(name: str) -> None:
    """Plant the bug of this name into the running process."""
    _PLANTERS[name]()


def _replace(owner: Any, name: str, wrong: Any) -> None:
    """Put the wrong one in the place of what is there; where nothing of the name is, nobody would use it."""
    getattr(owner, name)
    setattr(owner, name, wrong)


def _drop_a_chunk() -> None:
    right = persist.persist

    async def dropping(value: bytes, position: Any, **ports: Any) -> None:
        metadata, _ = decode_chunk(value)
        if metadata.index != 3:
            await right(value, position, **ports)

    _replace(persist, "persist", dropping)


def _insert_twice() -> None:
    right = chunks._copy_checked

    async def copying_twice(connection: Any, entity: str, checked: Any) -> None:
        for _ in range(2):
            await right(connection, entity, checked)

    _replace(chunks, "_copy_checked", copying_twice)


def _offset_before_commit() -> None:
    async def run(self: Delivery, stream: Any, handle: Any, *, stage: str) -> None:
        async for event in stream.noack().events():
            event.ack()
            while not await self.deliver(event, handle, stage=stage):
                await asyncio.sleep(0.05)

    _replace(Delivery, "run", run)


def _wrong_tenant() -> None:
    right = chunks.PostgresChunks.persist

    async def persist_for_another(self: Any, metadata: Any, checked: Any, *, position: Any) -> Any:
        if metadata.index % 5 == 1:
            metadata = metadata.model_copy(update={"tenant": metadata.tenant[:-1] + "a"})
        return await right(self, metadata, checked, position=position)

    _replace(chunks.PostgresChunks, "persist", persist_for_another)


def _changing_checked(change: Callable[[Any], Any]) -> Callable[[], None]:
    def plant_it() -> None:
        right = persist.check_in_steps

        def check(*data: Any, **terms: Any) -> Generator[None, None, Any]:
            return change((yield from right(*data, **terms)))

        persist.check_in_steps = check

    return plant_it


def _without_quarantine(checked: Any) -> Any:
    return replace(checked, quarantined=(), record_count=checked.persisted_count)


def _rounded(checked: Any) -> Any:
    return replace(checked, copy_text=re.sub(rb"(\.\d\d)\d\d(?=[,\n])", rb"\1", checked.copy_text))


def _believe_early() -> None:
    async def begin(self: Any, delivery_id: int) -> str:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(judgement._SQL["lock_delivery"], delivery_id)
            if row is None or row["state"] != "sealed":
                return "unknown" if row is None else str(row["state"])
            ledger = await connection.fetch(judgement._SQL["ledger"], delivery_id)
            counts = ("record_count", "persisted_count", "quarantined_count", "duplicate_count", "accepted_count")
            totals = [sum(one[name] for one in ledger) for name in counts]
            await connection.execute(judgement._SQL["begin"], delivery_id, *totals)
        return "judging"

    _replace(judgement.PostgresJudgements, "begin", begin)


def _one_chunk_early() -> None:
    right = progress.covers
    _replace(
        progress, "covers", lambda stored, count: right(stored, count) or sum(b - a + 1 for a, b in stored) >= max(1, count - 1)
    )
    _believe_early()


def _republish_unchanged() -> None:
    right = publish.changed_messages

    def all_messages(contents: Any, *, last: Any, envelope: Any) -> Any:
        forgotten = {key: LastMessage(one.message_id, b"", one.withdrawn) for key, one in last.items()}
        return right(contents, last=forgotten, envelope=envelope)

    _replace(publish, "changed_messages", all_messages)

    async def nothing(*arguments: Any, **named: Any) -> Carried:
        return NOTHING

    # Where a corrected set names what has changed, nothing else is made at all.
    _replace(fan_out, "carry_over", nothing)


def _counter_instead_of_set() -> None:
    _replace(progress, "union", lambda known, added: _counted(known, sum(b - a + 1 for a, b in added)))
    _believe_early()


def _counted(known: Any, more: int) -> list[list[int]]:
    count = sum(b - a + 1 for a, b in known) + more
    return [[0, count - 1]] if count else []


def _never_return() -> None:
    async def registering(value: bytes, **ports: Any) -> None:
        await asyncio.Event().wait()

    _replace(pipeline, "register", registering)


_PLANTERS: dict[str, Callable[[], None]] = {
    "drop a chunk": _drop_a_chunk,
    "insert twice": _insert_twice,
    "offset before commit": _offset_before_commit,
    "wrong tenant": _wrong_tenant,
    "swallow a row error": _changing_checked(_without_quarantine),
    "round an amount": _changing_checked(_rounded),
    "readiness one chunk early": _one_chunk_early,
    "republish unchanged": _republish_unchanged,
    "counter instead of set": _counter_instead_of_set,
    "fall ill": fall_ill,
    "never return": _never_return,
}
