"""The fifth repair to Faust: nothing is committed for a partition before its position has been taken from the group's commit.

Written against the versions that ``faust_repairs`` pins. When partitions are taken away Faust forgets what was acknowledged;
an event that is still in hand then is acknowledged afterwards, and stays noted. A worker that was frozen and wakes up joins
the group anew and commits that note as a member in good standing: the group's commit falls back to where the frozen worker
stood, behind what others have done since, and all of that is handled again. Seen in F3 of ``tests/faults``.
"""

from typing import Any, ClassVar

from faust.transport.consumer import Consumer
from faust.types import TP


class SoughtFirst:
    """The repaired condition for a commit."""

    original: ClassVar[Any] = Consumer._should_commit

    @staticmethod
    def should_commit(consumer: Consumer, tp: TP, offset: int) -> bool:
        """As the original, for partitions that were set to their commit since they were assigned, and for no others.

        ``_read_offset`` names them: a revocation takes a partition out, and the seek after the assignment puts it in.
        """
        return tp in consumer._read_offset and bool(SoughtFirst.original(consumer, tp, offset))


def commit_only_after_seek() -> None:
    """Install the fifth repair; installing it twice changes nothing."""
    repaired: Any = Consumer
    repaired._should_commit = SoughtFirst.should_commit
