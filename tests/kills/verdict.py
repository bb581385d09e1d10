"""The verdict on sets that have had time to settle: every row, amount, message and state against the files."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from dataharvest.rulebook import all_rules
from tests.kills.ledger import Ledger, comparable
from tests.kills.sets import BUSINESS_DATE, ENTITIES, FileSet, Row
from tests.kills.witness import Violations, Witness

_DELIVERIES = """
    SELECT d.*, (SELECT max(committed_at) FROM chunk c WHERE c.delivery_id = d.delivery_id) AS last_chunk_at
    FROM delivery d WHERE tenant = $1
"""
_VERSIONS = """
    SELECT v.version, v.state, (SELECT min(decided_at) FROM readiness r WHERE r.set_version_id = v.set_version_id) AS first_at,
           ARRAY(SELECT rule FROM readiness r WHERE r.set_version_id = v.set_version_id) AS rules
    FROM set_version v WHERE v.tenant = $1
"""


async def judge(sets: Collection[FileSet], *, witness: Witness) -> None:
    """Add what is wrong with these sets to the witness's violations."""
    for one in sets:
        await Case(one, witness).judge()
    for table, wanted in (("dead_letter", "true"), ("attempt", "attempt_count > 3")):
        for row in await witness.ledger.fetch(f"SELECT * FROM {table} WHERE {wanted}"):
            witness.violations.other.add(f"{table} {dict(row)}")


class Case:
    """One set before its judge."""

    def __init__(self, files: FileSet, witness: Witness) -> None:
        self.files = files
        self.tenant = files.tenant
        self.witness = witness
        self.ledger: Ledger = witness.ledger
        self.violations: Violations = witness.violations

    async def judge(self) -> None:
        """Add what is wrong."""
        deliveries = await self.ledger.fetch(_DELIVERIES, self.tenant)
        if sorted(row["entity"] for row in deliveries) != sorted(ENTITIES):
            self.violations.lost.add(f"{self.tenant}: {len(deliveries)} deliveries")
        for delivery in deliveries:
            await self.judge_delivery(delivery)
        last_chunk_at = max((row["last_chunk_at"] for row in deliveries if row["last_chunk_at"]), default=None)
        await self._judge_versions(last_chunk_at)
        self._judge_messages(last_chunk_at)

    async def judge_delivery(self, delivery: Any) -> None:
        """Every row, the counts and the chunks of a delivery against its file."""
        name = f"{self.tenant} {delivery['entity']}"
        if delivery["state"] != "complete":
            self.violations.unready.add(f"{name} is {delivery['state']}: {delivery['failure']}")
        await self._judge_tiles(name, delivery)
        expected = Counter(comparable(delivery["entity"], row) for row in self.files.rows[delivery["entity"]])
        found: Counter[Row] = await self.ledger.rows(delivery["entity"], delivery["delivery_id"])
        self.violations.lost.update(f"{name} lacks {row}" for row in expected - found)
        self.violations.doubled.update(f"{name} has too often {row}" for row in found - expected)
        counts = {kind: delivery[f"{kind}_count"] for kind in ("record", "persisted", "quarantined", "duplicate")}
        if counts != self.files.counts(delivery["entity"]):
            self.violations.lost.add(f"{name} counts {counts}, expected {self.files.counts(delivery['entity'])}")

    async def _judge_tiles(self, name: str, delivery: Any) -> None:
        query = "SELECT chunk_index, byte_offset, byte_length FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index"
        content = self.files.file(delivery["entity"])
        reached = content.index(b"\n") + 1
        for number, (index, offset, length) in enumerate(await self.ledger.fetch(query, delivery["delivery_id"])):
            if (index, offset) != (number, reached):
                self.violations.lost.add(f"{name}: chunk {index} begins at {offset}, expected {number} at {reached}")
            reached = offset + length
        if reached != len(content):
            self.violations.lost.add(f"{name}: chunks end at {reached} of {len(content)}")

    async def _judge_versions(self, last_chunk_at: Any) -> None:
        versions = await self.ledger.fetch(_VERSIONS, self.tenant)
        if not versions:
            self.violations.unready.add(f"{self.tenant} has no version")
        for row in versions:
            if row["version"] != 1:
                self.violations.doubled.add(f"{self.tenant} has version {row['version']}")
            if row["state"] != "published":
                self.violations.unready.add(f"{self.tenant} is {row['state']}")
            if sorted(row["rules"]) != sorted(all_rules()):
                self.violations.unready.add(f"{self.tenant} announced {sorted(row['rules'])}")
            if row["first_at"] and row["first_at"] < last_chunk_at:
                self.violations.early.add(f"{self.tenant} ready {last_chunk_at - row['first_at']} before its last chunk")

    def _judge_messages(self, last_chunk_at: Any) -> None:
        sent_at = self.witness.sent_at.get(self.tenant)
        if sent_at and last_chunk_at and sent_at < last_chunk_at.replace(microsecond=0):
            self.violations.early.add(f"{self.tenant} sent before its last chunk")
        for topic, found in self.witness.contents(self.tenant).items():
            expected = self.files.outbound[topic]
            self.violations.lost.update(f"{topic} {self.tenant} {key} never sent" for key in expected.keys() - found.keys())
            for reference, messages in found.items():
                if len(messages) != 1:
                    self.violations.doubled.add(f"{topic} {self.tenant} {reference} sent as {len(messages)} messages")
                self._judge_message(topic, reference, messages[0], expected.get(reference))

    def _judge_message(self, topic: str, reference: str, message: Any, expected: Any) -> None:
        envelope = {"tenant": self.tenant, "business_date": BUSINESS_DATE, "version": 1, "supersedes": None}
        known = {"message_id": message["message_id"], f"{topic[9:-1]}_reference": reference}
        if expected is None or message != {**envelope, **known, **expected}:
            self.violations.other.add(f"{topic} {self.tenant} {reference}: {message}, expected {expected}")
