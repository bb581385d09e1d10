"""The senders: they put files and manifests as events say, and the oracle is told of everything that lies in the bucket."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from tests.kills.sets import ENTITIES
from tests.properties import events as ev
from tests.properties.contents import Content, SetFiles
from tests.properties.oracle import Manifest, Oracle, Place, Totals, Upload

Put = Callable[[str, bytes], Awaitable[None]]
"""Puts an object under a key."""


@dataclass
class Senders:
    """Whoever sends the files of these sets."""

    places: list[Place]
    put: Put
    oracle: Oracle = field(default_factory=Oracle)
    contents: list[Content | None] = field(default_factory=list)
    """Of every upload so far, in order; None for a manifest."""

    async def send(self, event: ev.Sending) -> None:
        """Put what the event says."""
        place = self.places[event.place]
        match event:
            case ev.UploadAll():
                for entity in ENTITIES:
                    await self._file(place, SetFiles(str(place)).content(entity, 0))
            case ev.Upload():
                content = SetFiles(str(place)).broken(event.entity, event.variant, event.fault)
                await self._file(place, content, compressed=event.other_key)
            case ev.Again():
                now = self.oracle.bucket.get(object_key(place, event.entity))
                if now and isinstance(now.what, Content):
                    await self._file(place, now.what)
            case ev.ManifestComes():
                await self._manifest(place, event)

    async def _file(self, place: Place, content: Content, *, compressed: bool = False) -> None:
        key = object_key(place, content.entity) + (".gz" if compressed else "")
        await self._put(place, key, content, content.compressed if compressed else content.data)

    async def _manifest(self, place: Place, event: ev.ManifestComes) -> None:
        said = self._said(place, event)
        key = object_key(place, "manifest").replace(".csv", ".json")
        if event.kind == "unreadable":
            await self._put(place, key, None, b'{"entities": 1')
        elif said:
            entities = {entity: totals.as_json() for entity, totals in said.items()}
            await self._put(place, key, said, json.dumps({"entities": entities}).encode())

    async def _put(self, place: Place, key: str, what: Content | Manifest | None, data: bytes) -> None:
        self.contents.append(what if isinstance(what, Content) else None)
        self.oracle.put(key, Upload(len(self.contents), place, what))
        await self.put(key, data)

    def _said(self, place: Place, event: ev.ManifestComes) -> Manifest:
        """Totals of the newest uploads; of the first entity other ones when the manifest is to be false."""
        uploads = sorted((one for one in self.oracle.bucket.values() if one.place == place), key=lambda one: one.number)
        newest = {one.what.entity: one.what for one in uploads if isinstance(one.what, Content)}
        said = {entity: _totals(newest[entity], number) for number, entity in enumerate(event.entities) if entity in newest}
        if event.kind == "false" and said:
            entity = min(said)
            said[entity] = replace(said[entity], records=newest[entity].record_count + 1)
        return said


def object_key(place: Place, kind: str) -> str:
    """The usual key of a set's file."""
    return f"{place.tenant}/in/{kind}_{place.business_date.replace('-', '')}.csv"


def _totals(content: Content, number: int) -> Totals:
    """With more or less in it, so that every kind of total comes up."""
    if not content.is_readable:
        return Totals(records=content.record_count)
    return [
        Totals(content.record_count, content.sums),
        Totals(content.record_count, {}, content.sha256),
        Totals(None, content.sums) if content.sums else Totals(content.record_count),
        Totals(None, content.sums, content.sha256),
    ][number]
