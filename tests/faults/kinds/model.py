"""What a kind of fault says of itself."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.faults.trial import Trial


@dataclass(frozen=True)
class Scale:
    """How long a run may take."""

    name: str
    row_count: int
    """Records of a load."""
    outage_s: float
    """Length of a long outage."""
    frozen_s: float
    """How long a frozen worker stays frozen, at least."""
    bulk_bytes: int
    """Length of the one long file."""
    mixture_s: float
    """Length of the mixture."""


SCALES = {
    "short": Scale("short", 1_200, outage_s=60, frozen_s=1, bulk_bytes=24 << 20, mixture_s=10),
    "full": Scale("full", 20_000, outage_s=60, frozen_s=90, bulk_bytes=1 << 30, mixture_s=240),
    "drill": Scale("drill", 20_000, outage_s=1_800, frozen_s=90, bulk_bytes=1 << 30, mixture_s=600),
}

Play = Callable[[Trial, int, Scale], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """One kind of fault."""

    name: str
    title: str
    counts: dict[str, int]
    """How many faults, by scale."""
    play: Play


def times(short: int, full: int, drill: int) -> dict[str, int]:
    """Counts by scale."""
    return {"short": short, "full": full, "drill": drill}
