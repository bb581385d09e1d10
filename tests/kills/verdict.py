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
        await _Case(one, witness).judge()
    for table, wanted in (("dead_letter", "true"), ("attempt", "attempt_count > 3")):
        for row in await witness.ledger.fetch(f"SELECT * FROM {table} WHERE {wanted}"):
            witness.violations.other.add(f"{table} {dict(row)}")


class _Case:
    """One set before its judge."""

    def __init__(self, files: FileSet, witness: Witness) -> None:
        self._files = files
        self._tenant = files.tenant
        self._witness = witness
        self._ledger: Ledger = witness.ledger
        self._violations: Violations = witness.violations

    async def judge(self) -> None:
        deliveries = await self._ledger.fetch(_DELIVERIES, self._tenant)
        if sorted(row["entity"] for row in deliveries) != sorted(ENTITIES):
            self._violations.lost.add(f"{self._tenant}: {len(deliveries)} deliveries")
        for delivery in deliveries:
            await self._judge_delivery(delivery)
        last_chunk_at = max((row["last_chunk_at"] for row in deliveries if row["last_chunk_at"]), default=None)
        await self._judge_versions(last_chunk_at)
        self._judge_messages(last_chunk_at)

    async def _judge_delivery(self, delivery: Any) -> None:
        name = f"{self._tenant} {delivery['entity']}"
        if delivery["state"] != "complete":
            self._violations.unready.add(f"{name} is {delivery['state']}: {delivery['failure']}")
        await self._judge_tiles(name, delivery)
        expected = Counter(comparable(delivery["entity"], row) for row in self._files.rows[delivery["entity"]])
        found: Counter[Row] = await self._ledger.rows(delivery["entity"], delivery["delivery_id"])
        self._violations.lost.update(f"{name} lacks {row}" for row in expected - found)
        self._violations.doubled.update(f"{name} has too often {row}" for row in found - expected)
        if delivery["record_count"] != expected.total() or delivery["persisted_count"] != expected.total():
            self._violations.lost.add(f"{name} counts {delivery['record_count']}, {delivery['persisted_count']} persisted")

    async def _judge_tiles(self, name: str, delivery: Any) -> None:
        query = "SELECT chunk_index, byte_offset, byte_length FROM chunk WHERE delivery_id = $1 ORDER BY chunk_index"
        content = self._files.file(delivery["entity"])
        reached = content.index(b"\n") + 1
        for number, (index, offset, length) in enumerate(await self._ledger.fetch(query, delivery["delivery_id"])):
            if (index, offset) != (number, reached):
                self._violations.lost.add(f"{name}: chunk {index} begins at {offset}, expected {number} at {reached}")
            reached = offset + length
        if reached != len(content):
            self._violations.lost.add(f"{name}: chunks end at {reached} of {len(content)}")

    async def _judge_versions(self, last_chunk_at: Any) -> None:
        versions = await self._ledger.fetch(_VERSIONS, self._tenant)
        if not versions:
            self._violations.unready.add(f"{self._tenant} has no version")
        for row in versions:
            if row["version"] != 1:
                self._violations.doubled.add(f"{self._tenant} has version {row['version']}")
            if row["state"] != "published":
                self._violations.unready.add(f"{self._tenant} is {row['state']}")
            if sorted(row["rules"]) != sorted(all_rules()):
                self._violations.unready.add(f"{self._tenant} announced {sorted(row['rules'])}")
            if row["first_at"] and row["first_at"] < last_chunk_at:
                self._violations.early.add(f"{self._tenant} ready {last_chunk_at - row['first_at']} before its last chunk")

    def _judge_messages(self, last_chunk_at: Any) -> None:
        sent_at = self._witness.sent_at.get(self._tenant)
        if sent_at and last_chunk_at and sent_at < last_chunk_at.replace(microsecond=0):
            self._violations.early.add(f"{self._tenant} sent before its last chunk")
        for topic, found in self._witness.contents(self._tenant).items():
            expected = self._files.outbound[topic]
            self._violations.lost.update(f"{topic} {self._tenant} {key} never sent" for key in expected.keys() - found.keys())
            for reference, messages in found.items():
                if len(messages) != 1:
                    self._violations.doubled.add(f"{topic} {self._tenant} {reference} sent as {len(messages)} messages")
                self._judge_message(topic, reference, messages[0], expected.get(reference))

    def _judge_message(self, topic: str, reference: str, message: Any, expected: Any) -> None:
        envelope = {"tenant": self._tenant, "business_date": BUSINESS_DATE, "version": 1, "supersedes": None}
        known = {"message_id": message["message_id"], f"{topic[9:-1]}_reference": reference}
        if expected is None or message != {**envelope, **known, **expected}:
            self._violations.other.add(f"{topic} {self._tenant} {reference}: {message}, expected {expected}")
