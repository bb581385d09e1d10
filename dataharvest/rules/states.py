"""How far a set can be, and what a look at it finds."""

from enum import StrEnum
from typing import NamedTuple

from dataharvest.rules.causes import Cause


class State(StrEnum):
    """How far a set is."""

    INCOMPLETE = "incomplete"
    """A required file has not arrived, and none is on its way."""
    LOADING = "loading"
    """A delivery is being read or stored."""
    BLOCKED = "blocked"
    """Somebody has to repair something."""
    READY = "ready"
    """All files are stored; relating them comes next."""
    TRANSFORMING = "transforming"
    """Records are linked, values are computed."""
    DISPUTED = "disputed"
    """A version is out, and the sender's control totals say something else than the newest files."""
    PUBLISHING = "publishing"
    """Messages go out."""
    PUBLISHED = "published"
    """Every message of the newest files is out."""


SETTLED = frozenset({State.INCOMPLETE, State.BLOCKED, State.DISPUTED, State.PUBLISHED})
"""States that last until another file arrives or somebody repairs something."""


class Found(NamedTuple):
    """What a look at one part of a set has shown."""

    state: State
    waits_for: tuple[str, ...]
    reason: str
    cause: Cause
