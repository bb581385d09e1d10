"""The verdict on a load: every record, amount, message and state against the files, corrections included."""

from collections.abc import Collection
from typing import Any

from dataharvest.rulebook import all_rules
from tests.faults.load import LoadedSet
from tests.kills.sets import BUSINESS_DATE, ENTITIES
from tests.kills.verdict import Case
from tests.kills.witness import Witness
from tests.properties.oracle import Place
from tests.properties.received import complaints, held

_ENDED = ("complete", "superseded", "repeat")
_NEWEST = """
    SELECT d.*, (SELECT max(committed_at) FROM chunk c WHERE c.delivery_id = d.delivery_id) AS last_chunk_at
    FROM set_version v JOIN set_version_delivery s USING (set_version_id) JOIN delivery d ON d.delivery_id = s.delivery_id
    WHERE v.tenant = $1 AND v.version = (SELECT max(version) FROM set_version w WHERE w.tenant = $1)
"""
_VERSIONS = """
    SELECT v.version, v.state, v.created_at,
           (SELECT max(c.committed_at) FROM set_version_delivery s JOIN chunk c USING (delivery_id)
            WHERE s.set_version_id = v.set_version_id) AS last_chunk_at,
           ARRAY(SELECT rule FROM readiness r WHERE r.set_version_id = v.set_version_id) AS rules
    FROM set_version v WHERE v.tenant = $1 ORDER BY v.version
"""
_DEAD = "SELECT topic, topic_partition, topic_offset, stage, rule, reason FROM dead_letter"
_STRANGERS = {
    "clients": "SELECT d.tenant, r.last_name AS mark FROM row_clients r JOIN delivery d USING (delivery_id) "
    "WHERE d.tenant = ANY($1) AND r.last_name <> 'canary-' || d.tenant",
    "portfolios": "SELECT d.tenant, r.agent_code AS mark FROM row_portfolios r JOIN delivery d USING (delivery_id) "
    "WHERE d.tenant = ANY($1) AND r.agent_code <> 'canary-' || d.tenant",
    "chunks": "SELECT d.tenant, c.tenant AS mark FROM chunk c JOIN delivery d USING (delivery_id) "
    "WHERE c.tenant <> d.tenant AND (d.tenant = ANY($1) OR c.tenant = ANY($1))",
    "quarantine": "SELECT d.tenant, q.tenant AS mark FROM quarantine q JOIN delivery d USING (delivery_id) "
    "WHERE q.tenant <> d.tenant AND (d.tenant = ANY($1) OR q.tenant = ANY($1))",
}


async def judge_load(sets: Collection[LoadedSet], *, witness: Witness, expected_dead: Collection[tuple[str, int, int]]) -> None:
    """Add what is wrong with these sets, as they were sent last, to the witness's violations; no other message may be dead."""
    for one in sets:
        await LoadCase(one, witness).judge()
    tenants = [one.tenant for one in sets]
    for row in await witness.ledger.fetch(_DEAD):
        if (row["topic"], row["topic_partition"], row["topic_offset"]) not in expected_dead:
            witness.violations.other.add(f"dead letter {dict(row)}")
    for place, query in _STRANGERS.items():
        for row in await witness.ledger.fetch(query, tenants):
            witness.violations.other.add(f"{place} of {row['tenant']} hold what is another's: {row['mark']}")
    witness.violations.doubled.update(complaints(one for one in witness.received if _is_of(one[1], tenants)))


def _is_of(key: bytes, tenants: Collection[str]) -> bool:
    return key.decode(errors="replace").partition("|")[0] in tenants


class LoadCase(Case):
    """One set before its judge, whichever version it has come to."""

    async def judge(self) -> None:
        """Add what is wrong."""
        for row in await self.ledger.fetch("SELECT * FROM delivery WHERE tenant = $1", self.tenant):
            if row["state"] not in _ENDED:
                self.violations.unready.add(f"{self.tenant} {row['entity']} is {row['state']}: {row['failure']}")
        deliveries = await self.ledger.fetch(_NEWEST, self.tenant)
        if sorted(row["entity"] for row in deliveries) != sorted(ENTITIES):
            self.violations.unready.add(f"{self.tenant} has {len(deliveries)} deliveries in its version")
        for delivery in deliveries:
            await self.judge_delivery(delivery)
        await self._judge_all_versions()
        self._judge_held()

    async def _judge_all_versions(self) -> None:
        versions = await self.ledger.fetch(_VERSIONS, self.tenant)
        for number, row in enumerate(versions, 1):
            self._judge_version(number, row, is_newest=number == len(versions))

    def _judge_version(self, number: int, row: Any, *, is_newest: bool) -> None:
        name = f"{self.tenant} version {row['version']}"
        if row["version"] != number:
            self.violations.other.add(f"{name} follows version {number - 1}")
        if row["state"] != "published" and (is_newest or row["state"] != "cancelled"):
            self.violations.unready.add(f"{name} is {row['state']}")
        if is_newest and sorted(row["rules"]) != sorted(all_rules()):
            self.violations.unready.add(f"{name} announced {sorted(row['rules'])}")
        if row["last_chunk_at"] and row["created_at"] < row["last_chunk_at"]:
            self.violations.early.add(f"{name} was ready {row['last_chunk_at'] - row['created_at']} before its last chunk")

    def _judge_held(self) -> None:
        mine = [one for one in self.witness.received if _is_of(one[1], (self.tenant,))]
        found = held(mine).get(Place(self.tenant, BUSINESS_DATE), {})
        expected = {(topic, key): value for topic, values in self.files.outbound.items() for key, value in values.items()}
        self.violations.lost.update(f"{place} of {self.tenant} never sent" for place in expected.keys() - found.keys())
        self.violations.other.update(f"{place} is not {self.tenant}'s" for place in found.keys() - expected.keys())
        for place in expected.keys() & found.keys():
            if found[place] != expected[place]:
                self.violations.other.add(f"{self.tenant} {place}: {found[place]}, expected {expected[place]}")
