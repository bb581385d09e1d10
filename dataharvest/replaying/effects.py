"""What a replay would do: which messages change nothing, and which sets could go on, and publish, because of the others."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from dataharvest.deliveries import SetKey
from dataharvest.messages import Batch, ChunkMetadata, Judgement, Message, Notification, RuleReady
from dataharvest.replaying.log import LoggedMessage
from dataharvest.replaying.ports import ReplayLedger
from dataharvest.replaying.subjects import set_of, subject_of
from dataharvest.tenants import ChunkKey

_AT_ONCE = 500


class Uploads(Protocol):
    """Looks at the bucket."""

    async def new_keys(self, keys: Collection[str]) -> set[str]:
        """Keys whose object, as it is now, no delivery or manifest knows."""


@dataclass
class Effects:
    """What a replay would do, counted."""

    message_count: int = 0
    byte_count: int = 0
    copy_count: int = 0
    """Left out: an earlier replay's copies of messages that are in the range themselves."""
    unreadable_count: int = 0
    deliveries: set[int] = field(default_factory=set)
    sets: set[SetKey] = field(default_factory=set)
    acting: Counter[str] = field(default_factory=Counter)
    """Messages that would do something, by what they would do."""
    acting_sets: set[SetKey] = field(default_factory=set)
    """Sets that could go on because of them, and publish if they get that far."""
    new_keys: set[str] = field(default_factory=set)
    """Objects that would be registered."""

    @property
    def acts(self) -> bool:
        """Whether anything would change at all."""
        return bool(self.acting)


@dataclass
class Foreteller:
    """Adds messages up to what their replay would do; changes nothing."""

    ledger: ReplayLedger
    uploads: Uploads
    effects: Effects = field(default_factory=Effects)
    _waiting: list[LoggedMessage] = field(default_factory=list)

    async def add(self, message: LoggedMessage) -> None:
        """Take in one message."""
        self.effects.message_count += 1
        self.effects.byte_count += message.byte_count
        self._waiting.append(message)
        if len(self._waiting) >= _AT_ONCE:
            await self.finish()

    async def finish(self) -> None:
        """Look up what was added last."""
        subjects = [subject_of(one) for one in self._waiting]
        self._waiting.clear()
        self.effects.unreadable_count += subjects.count(None)
        await self._look_at_keys({key for keys in subjects if isinstance(keys, tuple) for key in keys})
        said = [one for one in subjects if isinstance(one, Message)]
        self.effects.sets |= set(map(set_of, said))
        # A notification leads to no more than a call, and to none that was made before.
        told = [one for one in subjects if isinstance(one, Notification)]
        self.effects.sets |= {SetKey(one.tenant, one.business_date) for one in told if one.business_date}
        self.effects.deliveries |= {number for one in said if (number := getattr(one, "delivery_id", None)) is not None}
        await self._look_at_chunks([one for one in said if isinstance(one, ChunkMetadata)])
        await self._look_at_work(said)
        await self._look_at_facts([one for one in said if not isinstance(one, ChunkMetadata | Batch | Judgement | RuleReady)])

    async def _look_at_keys(self, keys: set[str]) -> None:
        if not keys:
            return
        known = await self.ledger.sets_of_keys(keys)
        self.effects.deliveries |= set(known)
        self.effects.sets |= set(known.values())
        new = await self.uploads.new_keys(keys - self.effects.new_keys)
        self.effects.new_keys |= new
        self._note("objects would be registered", len(new), ())

    async def _look_at_chunks(self, chunks: list[ChunkMetadata]) -> None:
        by_key = {ChunkKey(one.delivery_id, one.index): one for one in chunks}
        acting = await self.ledger.chunks_that_act(by_key) if by_key else set()
        self._note("chunks are not in the ledger and would be stored", len(acting), (by_key[one] for one in acting))

    async def _look_at_work(self, said: list[Message]) -> None:
        batches = await self.ledger.batches_that_act([one for one in said if isinstance(one, Batch)])
        self._note("batches are not done and would be", len(batches), batches)
        rules = await self.ledger.rules_that_act([one for one in said if isinstance(one, RuleReady)])
        self._note("rules have no batches and would get them", len(rules), rules)
        judgements = {one.delivery_id: one for one in said if isinstance(one, Judgement)}
        judged = await self.ledger.judgements_that_act(list(judgements))
        self._note("deliveries would be judged", len(judged), (judgements[one] for one in judged))

    async def _look_at_facts(self, facts: list[Message]) -> None:
        keys = set(map(set_of, facts))
        going_on = await self.ledger.sets_that_go_on(keys) if keys else set()
        acting = [one for one in facts if set_of(one) in going_on]
        self._note("facts are about sets that are not done", len(acting), acting)

    def _note(self, what: str, count: int, about: Iterable[Message]) -> None:
        if count:
            self.effects.acting[what] += count
            self.effects.acting_sets |= set(map(set_of, about))
