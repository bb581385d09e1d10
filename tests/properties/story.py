"""A journey and an oracle that live through the same events, and the comparison of both whenever everything has come to rest."""

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal

from dataharvest.adapters.memory_ledger import StoredDelivery
from dataharvest.contracts import DEFAULT
from dataharvest.deliveries import SetKey
from dataharvest.rulebook import all_rules
from dataharvest.rules.standing import standing
from tests.kills.sets import ENTITIES
from tests.properties import events as ev
from tests.properties.contents import Content, SetFiles
from tests.properties.journey import Journey
from tests.properties.oracle import Manifest, Oracle, Place, Totals, Upload
from tests.properties.received import complaints, held

PLACES = [Place(tenant, day) for tenant in ("acme", "bank", "corp") for day in ("2026-11-23", "2026-11-24")]
_ENDED = {"complete", "superseded", "repeat", "rejected"}


@dataclass
class Story:
    """Plays events and says what went otherwise than the oracle says."""

    journey: Journey
    oracle: Oracle = field(default_factory=Oracle)
    put_count: int = 0
    contents: dict[int, Content] = field(default_factory=dict)
    """By number of the upload."""

    async def play(self, sequence: Iterable[ev.Event]) -> None:
        """Live through the events, and compare at the end."""
        for event in sequence:
            await self.live_through(event)
        await self.rest()

    async def live_through(self, event: ev.Event) -> None:
        """Let one event happen."""
        match event:
            case ev.UploadAll():
                for entity in ENTITIES:
                    await self._upload(ev.Upload(event.place, entity, 0))
            case ev.Upload():
                await self._upload(event)
            case ev.Again():
                await self._again(event)
            case ev.ManifestComes():
                await self._manifest(event)
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
        self._look_at_all()
        await self.journey.come_to_rest()
        found = [*self._of_messages(), *self._of_deliveries(), *await self._of_sets()]
        assert found == []

    async def _upload(self, event: ev.Upload) -> None:
        files = SetFiles(str(PLACES[event.place]))
        await self._put(PLACES[event.place], files.broken(event.entity, event.variant, event.fault), compressed=event.other_key)

    async def _again(self, event: ev.Again) -> None:
        now = self.oracle.bucket.get(_key(PLACES[event.place], event.entity))
        if now and isinstance(now.what, Content):
            await self._put(PLACES[event.place], now.what)

    async def _put(self, place: Place, content: Content, *, compressed: bool = False) -> None:
        key = _key(place, content.entity) + (".gz" if compressed else "")
        self.put_count += 1
        self.contents[self.put_count] = content
        self.oracle.put(key, Upload(self.put_count, place, content))
        await self.journey.put(key, content.compressed if compressed else content.data)

    async def _manifest(self, event: ev.ManifestComes) -> None:
        place = PLACES[event.place]
        manifest = self._said(event)
        if manifest or event.kind == "unreadable":
            self.put_count += 1
            key = f"{place.tenant}/in/manifest_{place.business_date.replace('-', '')}.json"
            self.oracle.put(key, Upload(self.put_count, place, None if event.kind == "unreadable" else manifest))
            said = {"entities": {entity: totals.as_json() for entity, totals in manifest.items()}}
            await self.journey.put(key, b'{"entities": 1' if event.kind == "unreadable" else json.dumps(said).encode())

    def _said(self, event: ev.ManifestComes) -> Manifest:
        """Totals of the newest uploads; of the first entity other ones when the manifest is to be false."""
        newest = {one.what.entity: one.what for one in self._uploads(PLACES[event.place]) if isinstance(one.what, Content)}
        said = {entity: _totals(newest[entity], number) for number, entity in enumerate(event.entities) if entity in newest}
        if event.kind == "false" and said:
            entity = min(said)
            said[entity] = replace(said[entity], records=newest[entity].record_count + 1)
        return said

    def _uploads(self, place: Place) -> list[Upload]:
        return sorted((one for one in self.oracle.bucket.values() if one.place == place), key=lambda one: one.number)

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

    def _look_at_all(self) -> None:
        # Their events wait to be read, or the sweep finds them.
        for key in self.oracle.bucket:
            self.oracle.look(key)

    def _of_messages(self) -> list[str]:
        sent = self.journey.world.outbound()
        dead = [f"dead letter: {message} {reason}" for message, reason in self.journey.dead_letters]
        return dead + complaints((one.topic, one.key, one.value) for one in sent)

    def _of_deliveries(self) -> list[str]:
        rows = self.journey.world.ledger.deliveries.values()
        return [f"delivery {row.delivery_id} of {row.entity} is {row.state}" for row in rows if row.state not in _ENDED] + [
            complaint for row in rows if row.state == "complete" for complaint in self._of_delivery(row)
        ]

    def _of_delivery(self, row: StoredDelivery) -> list[str]:
        content = self.contents_of(row)
        read = sum(checked.record_count for _, checked in row.chunks.values())
        counted = (read, row.persisted_count, row.quarantined_count, sum(row.duplicates.values()))
        expected = (content.record_count, len(content.stored), content.quarantined_count, 0)
        sums = {name: Decimal(one) for name, one in row.sums.items()}
        said = f"delivery {row.delivery_id} of {row.entity}"
        return [f"{said}: {counted} instead of {expected}"] * (counted != expected) + [
            f"{said}: {sums} instead of {content.sums}"
        ] * (sums != content.sums)

    def contents_of(self, row: StoredDelivery) -> Content:
        """The file that a delivery was."""
        return self.contents[self.journey.numbers[row.source.key, row.source.last_modified]]

    async def _of_sets(self) -> list[str]:
        messages = held((one.topic, one.key, one.value) for one in self.journey.world.outbound())
        found: list[str] = []
        for place, known in self.oracle.sets.items():
            values = messages.get(place, {})
            expected = known.state(published=bool(values))
            state, reason = await self._standing(place)
            if state != expected:
                found.append(f"{place} is {state} ({reason}) instead of {expected}")
            if values not in known.possible():
                found.append(f"{place} {expected} holds {values}, possible {known.possible()}")
            known.come_to_rest(values)
        return found

    async def _standing(self, place: Place) -> tuple[str, str]:
        key = SetKey(place.tenant, date.fromisoformat(place.business_date))
        ledger = self.journey.world.ledger
        async with self.journey.services.sets.locked(key) as locked:
            view = await locked.view()
        versions = ledger.versions.get(key, [])
        found = standing(
            view,
            required=DEFAULT.required,
            rules=list(all_rules().values()),
            failure=versions[-1].failure if versions else None,
            problem=ledger.problems.get(key),
        )
        return found.state.value, found.reason


def _key(place: Place, entity: str) -> str:
    return f"{place.tenant}/in/{entity}_{place.business_date.replace('-', '')}.csv"


def _totals(content: Content, number: int) -> Totals:
    """With more or less in it, so that every kind of total comes up."""
    if not content.is_readable:
        return Totals(records=content.record_count)
    return [
        Totals(content.record_count, content.sums, None),
        Totals(content.record_count, {}, content.sha256),
        Totals(None, content.sums, None) if content.sums else Totals(content.record_count),
        Totals(None, content.sums, content.sha256),
    ][number]
