"""A witness for one tenant among the many of a shared stack: what is committed of its chunks is in the ledger."""

from aiokafka import ConsumerRecord

from tests.e2e.outside import Outside
from tests.kills.witness import Violations, Witness


class CommitWitness(Witness):
    """Looks at the commits all the time; what other tests do with their sets is none of its business."""

    def __init__(self, outside: Outside, *, tenant: str) -> None:
        environment = outside.environment
        super().__init__(
            broker=environment["DATAHARVEST_BROKER"],
            database_url=environment["DATAHARVEST_DATABASE_URL"],
            violations=Violations(),
        )
        self._tenant = tenant
        self.verified_count = 0

    def _take_event(self, record: "ConsumerRecord[bytes, bytes]") -> None:
        """Left out: others send what is no event at all."""

    async def _look_at_readiness(self) -> None:
        """Left out: it would have to know every set of the stack."""

    async def _verify(self, partition: int, committed: int) -> None:
        start, known = self._verified[partition], self._chunks[partition]
        end = min(committed, len(known))
        rows = await self.ledger.fetch("SELECT delivery_id FROM delivery WHERE tenant = $1", self._tenant)
        mine = {row[0] for row in rows}
        chunks = [chunk for chunk in known[start:end] if chunk and chunk[0] in mine]
        for missing in set(chunks) - await self.ledger.stored(chunks):
            self.violations.lost.add(f"chunk {missing} committed and not in the ledger")
        self.verified_count += len(chunks)
        self._verified[partition] = max(start, end)
