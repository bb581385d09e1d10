"""What was done to the system and what it did: one entry per fault."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass
class Fault:
    """One fault: planned, then perhaps happened, then perhaps recovered from."""

    kind: str
    """F1 to F18."""
    what: str
    seed: int
    is_counted: bool = True
    """Whether it counts as a fault; a file of the hostile corpus does not."""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    has_happened: bool = False
    did: str = ""
    """What the system did."""
    recovery_s: float | None = None
    """From the end of the fault until the work went on; None when it did not in time."""
    waiting: int | None = None
    """Chunks on their way when the fault ended; None when it was not looked."""
    redelivered: int = 0
    """Chunks that were stored and whose offset was not committed: they come again."""

    @property
    def line(self) -> str:
        """In one line."""
        recovery = "" if self.recovery_s is None else f", {self.recovery_s:.1f} s"
        did = self.did if self.has_happened else f"did not hit: {self.did}"
        return f"{self.at:%H:%M:%S} {self.kind} {self.what}: {did}{recovery}"

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "at": self.at.isoformat(timespec="milliseconds")}


@dataclass
class Journal:
    """Every fault of a run."""

    seed: int
    faults: list[Fault] = field(default_factory=list)
    expected_dead: set[tuple[str, int, int]] = field(default_factory=set)
    """Topic, partition and offset of messages that have to be dead-lettered."""

    def plan(self, kind: str, what: str, *, is_counted: bool = True) -> Fault:
        """A fault that is about to happen."""
        self.faults.append(Fault(kind, what, self.seed, is_counted))
        return self.faults[-1]

    @property
    def happened(self) -> list[Fault]:
        """Those that hit and count."""
        return [one for one in self.faults if one.has_happened and one.is_counted]

    @property
    def stuck(self) -> list[Fault]:
        """Those from which the system did not recover by itself."""
        return [one for one in self.faults if one.has_happened and one.recovery_s is None]


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that ``share`` of the values do not exceed; None of nothing."""
    found: Sequence[float] = sorted(values)
    return found[min(len(found) - 1, int(share * len(found)))] if found else None
