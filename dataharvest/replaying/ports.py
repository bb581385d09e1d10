"""What replays need of the ledger: what it knows of messages, and where replays stand."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from typing import NamedTuple, Protocol

from dataharvest.deliveries import Lease, SetKey
from dataharvest.messages import Batch, RuleReady
from dataharvest.replaying.log import Span
from dataharvest.replaying.requests import Part, Replay, Request
from dataharvest.tenants import ChunkKey


class Arrival(NamedTuple):
    """When the first file of some sets came."""

    registered_at: datetime
    modified_at: datetime
    """When it was put into the bucket."""


class KnownChunks(NamedTuple):
    """Chunks of one delivery."""

    indexes: Sequence[int]
    """In order."""
    byte_count: int


class ReplayLedger(Protocol):
    """What the ledger knows of sets and messages. Of tenant and date None stands for any."""

    async def arrival(self, tenant: str | None, day: date | None) -> Arrival | None:
        """When their first file came; None when none ever did."""

    async def object_keys(self, tenant: str | None, day: date | None) -> set[str]:
        """The keys of their files and manifests."""

    async def spans(self, tenant: str | None, day: date | None) -> dict[int, Span]:
        """Where their chunks are on the topic ``chunks``, by partition."""

    async def chunks_in(self, request: Request, spans: Mapping[int, Span] | None) -> dict[int, KnownChunks]:
        """The chunks, by delivery, that a request for chunks means, of deliveries that still count.

        Args:
            request: tenant, date and times of it; chunks that a delivery still waits for count only without any range.
            spans: only those that were stored from these offsets; None stands for everywhere.
        """

    async def lease_of(self, delivery_id: int) -> Lease:
        """What is needed to read the delivery again; it gives no right to seal it."""

    async def sets_of(self, delivery_ids: Collection[int]) -> dict[int, SetKey]:
        """The sets that deliveries belong to."""

    async def sets_of_keys(self, object_keys: Collection[str]) -> dict[int, SetKey]:
        """The deliveries that were made of these objects, and the sets that they belong to."""

    async def chunks_that_act(self, chunks: Collection[ChunkKey]) -> set[ChunkKey]:
        """Those that would be stored if they came again."""

    async def batches_that_act(self, batches: Sequence[Batch]) -> list[Batch]:
        """Those that would be done if they came again."""

    async def rules_that_act(self, rules: Sequence[RuleReady]) -> list[RuleReady]:
        """Those that would be planned if they came again."""

    async def judgements_that_act(self, delivery_ids: Collection[int]) -> set[int]:
        """Deliveries that would be judged if they were told to."""

    async def sets_that_go_on(self, keys: Collection[SetKey]) -> set[SetKey]:
        """Sets of which something is still being read, computed or published."""


class Replays(Protocol):
    """Replays and how far they are."""

    def alone(self, topic: str) -> AbstractAsyncContextManager[bool]:
        """Whether nobody else replays this topic; nobody can begin to until the block ends."""

    async def begin(self, request: Request, parts: Sequence[Part], *, by: str) -> Replay:
        """Store a replay that has sent nothing yet."""

    async def find(self, replay_id: int) -> Replay | None:
        """A replay, as far as it is."""

    async def newest(self) -> list[Replay]:
        """The last hundred, the newest first."""

    async def save(self, replay_id: int, *, next_by_part: Mapping[int, int], sent_count: int, sent_bytes: int) -> None:
        """Keep how far it is."""

    async def end(self, replay_id: int) -> None:
        """It has got to its end."""
