"""Where the workers' group stands in its topics, and where it is to begin again."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple

from dataharvest.errors import Rejected
from dataharvest.replaying.log import Span, TopicLog


class GroupPosition(NamedTuple):
    """The group in one partition."""

    topic: str
    partition: int
    committed: int | None
    """The next offset to be read; None when nothing was ever committed."""
    bounds: Span

    @property
    def next_offset(self) -> int:
        """What a worker reads next: what retention has removed is passed, and a group that never read begins at the begin."""
        return self.bounds.start if self.committed is None else max(self.committed, self.bounds.start)

    @property
    def lag(self) -> int:
        """Messages that no worker has acknowledged."""
        return max(0, self.bounds.stop - self.next_offset)


class Move(NamedTuple):
    """A partition's way from where the group stands to where it is to begin again."""

    position: GroupPosition
    target: int

    @property
    def again(self) -> int:
        """Messages that would be read once more."""
        return max(0, self.position.next_offset - self.target)

    @property
    def skipped(self) -> int:
        """Messages that no worker has read and none would."""
        return max(0, self.target - self.position.next_offset)


Target = Literal["earliest"] | int | datetime


async def moves(positions: Iterable[GroupPosition], target: Target, *, log: TopicLog) -> list[Move]:
    """The moves that bring the group to the target: the begin, an offset, or the first message since a moment.

    A moment after the last message is the end; an offset that retention has removed is the begin.

    Raises:
        Rejected: rule ``offset_beyond_end``.
        Unavailable: Kafka is not there.
    """
    by_topic: dict[str, list[GroupPosition]] = {}
    for one in positions:
        by_topic.setdefault(one.topic, []).append(one)
    found = []
    for topic, members in by_topic.items():
        since = await _since(topic, members, target, log=log)
        found += [Move(one, _offset(one, target, since)) for one in members]
    return found


async def _since(topic: str, members: list[GroupPosition], target: Target, *, log: TopicLog) -> Mapping[int, int | None]:
    if not isinstance(target, datetime):
        return {}
    return await log.offsets_at(topic, target, partitions=[one.partition for one in members])


def _offset(position: GroupPosition, target: Target, since: Mapping[int, int | None]) -> int:
    start, stop = position.bounds
    if isinstance(target, datetime):
        found = since.get(position.partition)
        return stop if found is None else found
    if target == "earliest":
        return start
    if target > stop:
        message = f"partition {position.partition} of {position.topic} ends at offset {stop}, not at {target}"
        raise Rejected(message, rule="offset_beyond_end")
    return max(start, target)
