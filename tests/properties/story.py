"""A journey and an oracle that live through the same events, and the comparison of both whenever everything has come to rest."""

import random
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from dataharvest.adapters.memory_ledger import StoredDelivery
from dataharvest.contracts import DEFAULT
from dataharvest.deliveries import SetKey
from dataharvest.rulebook import all_rules
from dataharvest.rules.standing import standing
from tests.properties import events as ev
from tests.properties.journey import Journey
from tests.properties.oracle import Oracle, Place
from tests.properties.received import complaints, held
from tests.properties.sending import Senders

PLACES = [Place(tenant, day) for tenant in ("acme", "bank", "corp") for day in ("2026-11-23", "2026-11-24")]
_ENDED = {"complete", "superseded", "repeat", "rejected"}


@dataclass
class Story:
    """Plays events and says what went otherwise than the oracle says."""

    journey: Journey

    def __post_init__(self) -> None:
        """Begin with senders that have sent nothing."""
        self.senders = Senders(PLACES, self.journey.put)

    @property
    def oracle(self) -> Oracle:
        """What it is compared with."""
        return self.senders.oracle

    async def play(self, sequence: Iterable[ev.Event]) -> None:
        """Live through the events, and compare at the end."""
        for event in sequence:
            await self.live_through(event)
        await self.rest()

    async def live_through(self, event: ev.Event) -> None:
        """Let one event happen."""
        match event:
            case ev.UploadAll() | ev.Upload() | ev.Again() | ev.ManifestComes():
                await self.senders.send(event)
            case ev.Deliver():
                await self._deliver(event)
            case ev.Duplicate():
                if self.journey.read:
                    self.journey.pending.append(random.Random(event.seed).choice(self.journey.read))
            case ev.Lose():
                self.journey.lose(random.Random(event.seed))
            case ev.Wait():
                await self.journey.pass_time(event.seconds)
            case ev.Restart(sends=0):
                self.journey.restart()
            case ev.Restart():
                self.journey.sender.sends_left, self.journey.sender.is_out = event.sends, event.is_out
            case ev.Rest():
                await self.rest()

    async def rest(self) -> None:
        """Let everything come to rest, and compare."""
        # The events of what nobody has looked at wait to be read, or the sweep finds it.
        for key in self.oracle.bucket:
            self.oracle.look(key)
        await self.journey.come_to_rest()
        found = [*self._of_messages(), *self._of_deliveries(), *[one async for one in self._of_sets()]]
        assert found == []

    async def _deliver(self, event: ev.Deliver) -> None:
        chosen = random.Random(event.seed)
        for _ in range(event.count):
            await self.journey.split()
            if not self.journey.pending:
                return
            message = self.journey.next_message(chosen, shuffled=event.shuffled)
            if message.topic == "uploads":
                self.oracle.look(message.key.decode())
            await self.journey.give(message)
            if message.topic == "uploads":
                # On an unversioned bucket only what is read before it is overwritten was ever there.
                await self.journey.split()

    def _of_messages(self) -> Iterator[str]:
        yield from (f"dead letter: {message} {reason}" for message, reason in self.journey.dead_letters)
        yield from complaints((one.topic, one.key, one.value) for one in self.journey.world.outbound())

    def _of_deliveries(self) -> Iterator[str]:
        for row in self.journey.world.ledger.deliveries.values():
            if row.state not in _ENDED:
                yield f"delivery {row.delivery_id} of {row.entity} is {row.state}"
            if row.state == "complete":
                yield from self._of_delivery(row)

    def _of_delivery(self, row: StoredDelivery) -> Iterator[str]:
        content = self.senders.contents[self.journey.numbers[row.source.key, row.source.last_modified] - 1]
        assert content is not None
        read = sum(checked.record_count for _, checked in row.chunks.values())
        counted = (read, row.persisted_count, row.quarantined_count, sum(row.duplicates.values()))
        expected = (content.record_count, len(content.stored), content.quarantined_count, 0)
        sums = {name: Decimal(one) for name, one in row.sums.items()}
        if (counted, sums) != (expected, content.sums):
            yield f"delivery {row.delivery_id} of {row.entity}: {counted} {sums} instead of {expected} {content.sums}"

    async def _of_sets(self) -> AsyncIterator[str]:
        messages = held((one.topic, one.key, one.value) for one in self.journey.world.outbound())
        for place, known in self.oracle.sets.items():
            values = messages.get(place, {})
            expected = known.state(published=bool(values))
            state, reason = await self._standing(place)
            if state != expected:
                yield f"{place} is {state} ({reason}) instead of {expected}"
            if values not in known.possible():
                yield f"{place} {expected} holds {values}, possible {known.possible()}"
            known.come_to_rest(values)

    async def _standing(self, place: Place) -> tuple[str, str]:
        key = SetKey(place.tenant, date.fromisoformat(place.business_date))
        async with self.journey.services.sets.locked(key) as locked:
            view = await locked.view()
        ledger = self.journey.world.ledger
        versions = ledger.versions.get(key, [])
        found = standing(
            view,
            required=DEFAULT.required,
            rules=list(all_rules().values()),
            failure=versions[-1].failure if versions else None,
            problem=ledger.problems.get(key),
        )
        return found.state.value, found.reason
