"""A set version opened to be looked at again, rule by rule and batch by batch, as workers do it."""

from collections.abc import Iterator
from typing import Any

import asyncpg
import polars as pl

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.frames import read_frames
from dataharvest.deliveries import OpenBatch, SetKey
from dataharvest.messages import Batch
from dataharvest.outbound import OutboundMessage
from dataharvest.rules.batching import batch_count
from dataharvest.sql import queries
from dataharvest.transformers import Transformer

_SQL = queries("reconciliation")


class VersionAgain:
    """A set version in one snapshot; no more is read at a time than a worker reads."""

    def __init__(self, connection: Connection, key: SetKey, row: asyncpg.Record) -> None:
        self.connection = connection
        self.key = key
        self.number: int = row["version"]
        self.state: str = row["state"]
        self.is_other_edition: bool = row["is_other_edition"]
        self.facts = frozenset(row["facts"])
        # Nothing is left out because relating found every record linked: that is what is looked at.
        self.opened = OpenBatch(row["set_version_id"], computed=True, deliveries=row["deliveries"] or {})
        self._is_other_logic: dict[str, bool] = {}
        self._record_counts: dict[str, int] = row["record_counts"] or {}

    async def is_other_logic(self, made: Transformer | OutboundMessage) -> bool:
        """Whether some of it was made by another declaration; what an older version of the program made counts as today's."""
        name = made.rule.name
        if name not in self._is_other_logic:
            [row] = await self.connection.fetch(_SQL["made_by"], self.opened.set_version_id, name)
            is_other_version = isinstance(made, Transformer) and not {*row["logic_versions"]} <= {made.logic_version}
            self._is_other_logic[name] = is_other_version or not {*row["declarations"]} <= {made.made_by}
        return self._is_other_logic[name]

    def batches(self, made: Transformer | OutboundMessage) -> Iterator[Batch]:
        """The batches of its rule, as many as are planned for so many records."""
        count = batch_count(self._record_counts, work=made.rule.work)
        tenant, day = self.key
        shared: dict[str, Any] = {"tenant": tenant, "business_date": day, "version": self.number, "rule": made.rule.name}
        yield from (Batch(**shared, batch=index, batch_count=count) for index in range(count))

    async def frames(self, made: Transformer | OutboundMessage, batch: Batch) -> dict[str, pl.DataFrame]:
        """What it is made from, of the batch."""
        return await read_frames(self.connection, made.reads, per=made.per, opened=self.opened, batch=batch)
