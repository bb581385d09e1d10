"""Whether the work goes on: a look at everything that moves for some tenants, and how long it takes until it moves again."""

import asyncio
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from aiokafka.errors import KafkaError

from tests.kills.ledger import GONE
from tests.kills.witness import Chunk, Witness

RECOVERY_S = 120.0
"""How long after a fault the work may take to go on."""
_POLL_S = 0.1
_MOVING = """
    SELECT (SELECT count(*) FROM chunk WHERE tenant = ANY($1)),
           (SELECT string_agg(state, ',' ORDER BY delivery_id) FROM delivery WHERE tenant = ANY($1)),
           (SELECT count(*) FROM readiness r JOIN set_version v USING (set_version_id) WHERE v.tenant = ANY($1)),
           (SELECT count(computed_at) + count(done_at) FROM batch b JOIN set_version v USING (set_version_id)
            WHERE v.tenant = ANY($1)),
           (SELECT count(sent_at) FROM outbound WHERE tenant = ANY($1))
"""
_AT_REST = """
    SELECT count(*) FROM (SELECT DISTINCT ON (tenant) state FROM set_version WHERE tenant = ANY($1)
                          ORDER BY tenant, version DESC) newest
    WHERE state = 'published'
"""
_AGAIN = """
    SELECT count(*) FROM chunk c JOIN unnest($1::int[], $2::bigint[]) AS known(topic_partition, committed) USING (topic_partition)
    WHERE c.topic_offset >= known.committed
"""


class Pulse:
    """The pulse of some tenants."""

    def __init__(self, witness: Witness, tenants: Collection[str]) -> None:
        self._witness = witness
        self._tenants = list(tenants)

    async def look(self) -> Any:
        """What there is; two looks are equal when nothing moved. None while PostgreSQL is down."""
        try:
            return tuple((await self._witness.ledger.fetch(_MOVING, self._tenants))[0])
        except GONE:
            return None

    async def waiting(self) -> set[Chunk]:
        """Chunks on their way; none when nobody can tell."""
        try:
            return await self._witness.unstored()
        except GONE:
            return set()

    async def at_rest(self) -> bool:
        """Whether every tenant's newest version is published."""
        try:
            rows = await self._witness.ledger.fetch(_AT_REST, self._tenants)
        except GONE:
            return False
        return bool(rows[0][0] == len(self._tenants))

    async def redelivered(self) -> int:
        """Chunks that are stored and will come again."""
        with suppress(KafkaError, *GONE):
            committed = {
                place.partition: one for place, one in (await self._witness.commits()).items() if place.topic == "chunks"
            }
            rows = await self._witness.ledger.fetch(_AGAIN, list(committed), list(committed.values()))
            return int(rows[0][0])
        return 0

    async def again(self, *, waiting: set[Chunk], since: float, within_s: float = RECOVERY_S) -> float | None:
        """Seconds from ``since`` until what was waiting is stored and something moves, or nothing is left to do."""
        before = await self.look()
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            now = await self.look()
            if now is not None:
                before = now if before is None else before
                moved = now != before or bool(waiting)
                waiting = waiting & await self.waiting()
                if not waiting and (moved or await self.at_rest()):
                    return time.monotonic() - since
            await asyncio.sleep(_POLL_S)
        return None
