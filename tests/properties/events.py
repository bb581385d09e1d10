"""What may happen to a few sets, as hypothesis makes it up and as it is printed when a property fails."""

from dataclasses import dataclass

from hypothesis import strategies as st

from tests.kills.sets import ENTITIES
from tests.properties.contents import FAULTS, VARIANTS

MOST_SETS = 6


@dataclass(frozen=True)
class Upload:
    """A file is put, whole or broken; ``other_key``: compressed, under a key of its own."""

    place: int
    entity: str
    variant: int
    fault: str = ""
    other_key: bool = False


@dataclass(frozen=True)
class UploadAll:
    """The first four files of a set are put."""

    place: int


@dataclass(frozen=True)
class Again:
    """The bytes under a key are put once more."""

    place: int
    entity: str


@dataclass(frozen=True)
class ManifestComes:
    """A manifest is put: what it says is true of the newest uploads, off by one, or can't be read."""

    place: int
    entities: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class Deliver:
    """So many messages are read: in the order of their keys, or in any order."""

    count: int
    shuffled: bool
    seed: int


@dataclass(frozen=True)
class Duplicate:
    """A message that was read before is there once more."""

    seed: int


@dataclass(frozen=True)
class Lose:
    """A message that waits to be read is gone."""

    seed: int


@dataclass(frozen=True)
class Wait:
    """Seconds pass."""

    seconds: float


@dataclass(frozen=True)
class Restart:
    """The worker ends and another begins: at once, or within its ``sends``-th next send, before or after the message is out."""

    sends: int = 0
    is_out: bool = False


@dataclass(frozen=True)
class Rest:
    """Nothing happens until nothing is left to do."""


Sending = Upload | UploadAll | Again | ManifestComes
Event = Sending | Deliver | Duplicate | Lose | Wait | Restart | Rest

_seeds = st.integers(0, 1000)
_entities = st.sampled_from(ENTITIES)
_some_entities = st.lists(_entities, min_size=1, max_size=4, unique=True).map(lambda found: tuple(sorted(found)))


def events(place_count: int, *, restarts: bool) -> st.SearchStrategy[Event]:
    """Anything that may happen to this many sets."""
    places = st.integers(0, place_count - 1)
    variants = st.integers(0, VARIANTS - 1)
    uploads = st.builds(Upload, places, _entities, variants, other_key=st.booleans())
    found: list[st.SearchStrategy[Event]] = [
        st.builds(UploadAll, places),
        uploads,
        st.builds(Upload, places, _entities, variants),
        st.builds(Upload, places, _entities, st.just(0)),
        st.builds(Upload, places, _entities, variants, st.sampled_from(FAULTS)),
        st.builds(Again, places, _entities),
        st.builds(ManifestComes, places, _some_entities, st.sampled_from(["true", "true", "false", "unreadable"])),
        st.builds(Deliver, st.sampled_from([1, 5, 20, 60]), st.booleans(), _seeds),
        st.builds(Deliver, st.sampled_from([5, 20, 60, 150]), st.booleans(), _seeds),
        st.builds(Duplicate, _seeds),
        st.builds(Wait, st.sampled_from([1.0, 4.0, 6.0])),
        st.just(Rest()),
    ]
    if restarts:
        found += [st.just(Restart()), st.builds(Restart, st.integers(1, 40), st.booleans()), st.builds(Lose, _seeds)]
    return st.one_of(found)


def sequences(place_count: int, *, restarts: bool = True, most: int = 14) -> st.SearchStrategy[list[Event]]:
    """Sequences that begin with the files of the first set."""
    rest = st.lists(events(place_count, restarts=restarts), min_size=1, max_size=most)
    return rest.map(lambda found: [UploadAll(0), *found])
