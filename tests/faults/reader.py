"""A concurrent reader of the tables: rows and ledger always agree, in every snapshot; nothing is ever half there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from tests.kills.ledger import GONE, Ledger
from tests.kills.sets import ENTITIES, FileSet
from tests.kills.world import World

LOOK_S = 1.0
_TORN = """
    SELECT d.tenant, d.delivery_id, d.state,
           coalesce((SELECT sum(persisted_count) FROM chunk c WHERE c.delivery_id = d.delivery_id), 0)::bigint AS told,
           (SELECT count(*) FROM row_{entity} r WHERE r.delivery_id = d.delivery_id) AS stored
    FROM delivery d
    WHERE d.tenant = ANY($1) AND d.entity = '{entity}'
      AND d.state IN ('registered', 'waiting', 'splitting', 'sealed', 'judging', 'complete')
"""


class Reader:
    """Looks at the tables of some sets again and again, on a connection of its own; sets may be added."""

    def __init__(self, made: World, sets: Sequence[FileSet]) -> None:
        self._world = made
        self._sets = sets
        self._ledger = Ledger(made.environment["DATAHARVEST_DATABASE_URL"])

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look until the block ends."""
        looking = asyncio.create_task(self._keep_looking())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            with suppress(*GONE):
                await self._ledger.close()

    async def _keep_looking(self) -> None:
        while True:
            with suppress(*GONE):
                await self._look()
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        tenants = [one.tenant for one in self._sets]
        for entity in ENTITIES:
            for row in await self._ledger.fetch(_TORN.format(entity=entity), tenants):
                if row["told"] != row["stored"]:
                    found = f"{row['stored']} rows stored and {row['told']} in the ledger"
                    kind = self._world.witness.violations
                    sentence = f"{row['tenant']} {entity} torn while {row['state']}: {found}"
                    (kind.doubled if row["stored"] > row["told"] else kind.lost).add(sentence)
