"""What somebody asks to have sent once more, and how far that is."""

from datetime import date, datetime
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

REPLAYABLE = ("uploads", "chunks", "progress", "readiness", "work", "notifications")
"""Topics whose readers take every message twice without harm."""


class Request(BaseModel):
    """A range of a topic; what is None is not restricted. Ranges go up to and without their end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: str
    partition: int | None = None
    from_offset: int | None = None
    to_offset: int | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None
    tenant: str | None = None
    business_date: date | None = None
    from_s3: bool = False

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.topic not in REPLAYABLE:
            raise ValueError(_why_not(self.topic))
        if self.has_offsets and self.has_times:
            raise ValueError("a range is given by offsets or by times, not by both")
        if not (self.has_offsets or self.has_times or self.names_sets):
            raise ValueError("say which part: offsets, times, or --tenant and --date; --from-offset 0 is everything")
        if self.from_s3 and self.topic != "chunks":
            raise ValueError(f"the bucket has the chunks of the files, and no messages of {self.topic}")
        if _is_empty(self.from_offset, self.to_offset) or _is_empty(self.from_time, self.to_time):
            raise ValueError("the range ends where it begins, or before")
        return self

    @property
    def has_offsets(self) -> bool:
        """Whether offsets limit the range."""
        return self.from_offset is not None or self.to_offset is not None

    @property
    def has_times(self) -> bool:
        """Whether times limit the range."""
        return self.from_time is not None or self.to_time is not None

    @property
    def names_sets(self) -> bool:
        """Whether only messages about some sets are meant."""
        return self.tenant is not None or self.business_date is not None

    def means(self, tenant: str, business_date: date | None) -> bool:
        """Whether messages about this set are meant; without a date, about a file of the tenant that belongs to none."""
        return self.tenant in (None, tenant) and self.business_date in (None, business_date)


def _why_not(topic: str) -> str:
    known = f"a replay can send {', '.join(REPLAYABLE[:-1])} or {REPLAYABLE[-1]} again"
    if topic.startswith("outbound."):
        return f"{known}; whoever reads {topic} goes back to an older offset without our help"
    if topic == "dead-letters":
        return f"{known}; `dataharvest dead-letters replay` sends what was rejected"
    return f"{known}, not {topic!r}"


def _is_empty(start: int | datetime | None, stop: int | datetime | None) -> bool:
    return start is not None and stop is not None and stop <= start  # type: ignore[operator]


class Part(NamedTuple):
    """A range within a replay: offsets of a partition, or chunk indexes of a delivery that is read from the bucket."""

    number: int
    """The partition, or the delivery."""
    start: int
    stop: int
    next: int
    """The first that is not sent again yet."""

    @property
    def left(self) -> int:
        """How many there are to go."""
        return max(0, self.stop - self.next)


class Replay(NamedTuple):
    """A replay that was begun."""

    replay_id: int
    request: Request
    parts: tuple[Part, ...]
    by_whom: str
    started_at: datetime
    ended_at: datetime | None = None
    sent_count: int = 0
    sent_bytes: int = 0

    @property
    def total(self) -> int:
        """Messages in its ranges, at most."""
        return sum(one.stop - one.start for one in self.parts)

    @property
    def left(self) -> int:
        """Messages still to be looked at, at most."""
        return sum(one.left for one in self.parts)
