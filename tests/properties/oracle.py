"""The oracle: where every set must stand and what downstream must hold, from the files alone, without the pipeline's code.

What is certain and what is not: a set whose newest files are clean, complete, linked and vouched for is published with
exactly their values. Where it is held up, an earlier version stands, and which one depends on how far each earlier file got
before the next came; but it is always *one* combination of files that lay there together and that was fit to be published.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from typing import Any, NamedTuple

from tests.kills.sets import ENTITIES
from tests.properties.contents import Choice, Content, orphan_count, values_of

Values = dict[tuple[str, str], Mapping[str, object]]
"""By outbound topic and reference."""


class Place(NamedTuple):
    """A set's name."""

    tenant: str
    business_date: str
    """ISO 8601."""


@dataclass(frozen=True)
class Totals:
    """What a manifest says of one entity."""

    records: int | None = None
    sums: Mapping[str, Decimal] = field(default_factory=dict)
    sha256: str | None = None

    def agrees(self, content: Content) -> bool:
        """Whether the content is what was said."""
        if self.sha256 is not None and self.sha256 != content.sha256:
            return False
        return self.records in (None, content.record_count) and all(content.sums[name] == one for name, one in self.sums.items())

    def as_json(self) -> dict[str, Any]:
        """As it is written into the manifest."""
        said = {"records": self.records, "sums": {name: str(one) for name, one in self.sums.items()}, "sha256": self.sha256}
        return {name: one for name, one in said.items() if one not in (None, {})}


Manifest = Mapping[str, Totals]


@dataclass
class Known:
    """What has been looked at of one set, oldest first; numbers are the order of the uploads."""

    place: Place
    files: dict[str, dict[int, Content]] = field(default_factory=lambda: {entity: {} for entity in ENTITIES})
    manifests: dict[int, Manifest] = field(default_factory=dict)
    since: int = 0
    """Number of the last upload that was known when the set came to rest last."""
    stands: Values = field(default_factory=dict)
    """What was published when the set came to rest last."""

    def newest(self) -> dict[str, Content]:
        """The files that count."""
        return {entity: content for entity in ENTITIES for content in self._candidates(entity)[-1:]}

    def is_agreed(self, choice: Choice) -> bool:
        """Whether the newest manifest has nothing to say against the files."""
        return _agree(self.manifests[max(self.manifests)] if self.manifests else {}, choice)

    def state(self, *, published: bool) -> str:
        """Where the set stands at rest; ``published``: whether anything of it ever was."""
        choice = self.newest()
        if any(content.quarantined_count for content in choice.values()):
            return "blocked"
        if len(choice) < len(ENTITIES):
            return "incomplete"
        if not self.is_agreed(choice):
            return "disputed" if published else "blocked"
        return "blocked" if orphan_count(choice) else "published"

    def possible(self) -> list[Values]:
        """What may be held at rest: the one thing that is certain, or anything that was fit to be published on the way."""
        if self.state(published=True) == "published":
            return [values_of(self.place.tenant, self.newest())]
        return [self.stands, *self._on_the_way()]

    def come_to_rest(self, held: Values) -> None:
        """Note that nothing is under way and what is held."""
        self.stands = held
        self.since = max([*self.manifests, *(number for found in self.files.values() for number in found)], default=0)

    def _on_the_way(self) -> Iterator[Values]:
        manifests = self._lately(self.manifests) or [{}]
        if self.since < min(self.manifests, default=0):
            manifests = [{}, *manifests]
        for contents in product(*(self._lately(dict(self._readable(entity))) for entity in ENTITIES)):
            choice = dict(zip(ENTITIES, contents, strict=True))
            fit = not any(one.quarantined_count for one in contents) and not orphan_count(choice)
            if fit and any(_agree(manifest, choice) for manifest in manifests):
                yield values_of(self.place.tenant, choice)

    def _lately(self, found: Mapping[int, Any]) -> list[Any]:
        """The newest of before the last rest, and all since."""
        before = [number for number in found if number <= self.since]
        return [found[number] for number in sorted(found) if number > self.since or number == max(before)]

    def _candidates(self, entity: str) -> list[Content]:
        return [content for _, content in sorted(self._readable(entity))]

    def _readable(self, entity: str) -> list[tuple[int, Content]]:
        return [(number, content) for number, content in self.files[entity].items() if content.is_readable]


def _agree(manifest: Manifest, choice: Choice) -> bool:
    return all(totals.agrees(choice[entity]) for entity, totals in manifest.items() if entity in choice)


@dataclass(frozen=True)
class Upload:
    """An object as it was put."""

    number: int
    place: Place
    what: Content | Manifest | None
    """None: a manifest that can't be used."""


@dataclass
class Oracle:
    """The bucket as it is, and what has been looked at of it."""

    bucket: dict[str, Upload] = field(default_factory=dict)
    sets: dict[Place, Known] = field(default_factory=dict)

    def put(self, key: str, upload: Upload) -> None:
        """An object was put."""
        self.bucket[key] = upload

    def look(self, key: str) -> None:
        """Somebody looked at the object under the key: an event is a hint, only what is there now counts."""
        upload = self.bucket[key]
        known = self.sets.setdefault(upload.place, Known(upload.place))
        if isinstance(upload.what, Content):
            known.files[upload.what.entity][upload.number] = upload.what
        elif upload.what is not None:
            known.manifests[upload.number] = upload.what
