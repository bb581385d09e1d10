"""The fifth to seventh repair: no commit of a worker that was away moves the group's commits back; none passes the unhandled.

Written against the versions that ``faust_repairs`` pins. The fifth and sixth were seen in F3 of ``tests/faults``.

Fifth: nothing is committed for a partition before its position has been taken from the group's commit. When partitions are taken
away Faust forgets what was acknowledged; an event that is still in hand then is acknowledged afterwards, and stays noted. A
worker that was frozen and wakes up joins the group anew and commits that note as a member in good standing: the group's commit
falls back to where the frozen worker stood, behind what others have done since, and all of that is handled again.

Sixth: nothing is committed by who is no member. A worker that wakes up is told that its membership is over and forgets it; until
it has joined anew its client sends commits without one, and a broker takes those as long as the group has no member at all,
because the others were just stopped. Nor is a commit that waited for the broker sent under a membership that came after it.

Seventh: what a stream passes over is not acknowledged. It passes over what was fetched before a rebalance and comes out of its
queue afterwards; that is fetched once more. Where Faust runs without its compiled parts it also acknowledges it, so that a commit
could pass the message before it is handled.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from aiokafka import TopicPartition
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import IllegalGenerationError
from aiokafka.protocol.commit import OffsetCommitRequest
from faust.transport.consumer import Consumer
from faust.types import TP
from faust.types.tuples import Message


class SoughtFirst:
    """The repaired condition for a commit."""

    original: ClassVar[Any] = Consumer._should_commit

    @staticmethod
    def should_commit(consumer: Consumer, tp: TP, offset: int) -> bool:
        """As the original, for partitions that were set to their commit since they were assigned, and for no others.

        ``_read_offset`` names them: a revocation takes a partition out, and the seek after the assignment puts it in.
        """
        return tp in consumer._read_offset and bool(SoughtFirst.original(consumer, tp, offset))


class MembersOnly:
    """The repaired sending of a commit."""

    original: ClassVar[Any] = GroupCoordinator._do_commit_offsets

    @staticmethod
    async def do_commit_offsets(coordinator: Any, assignment: Any, offsets: Mapping[TopicPartition, Any]) -> None:
        """As the original, for a member that still has the assignment under which the commit was begun.

        Raises:
            IllegalGenerationError: it is no member, or its partitions were assigned anew; what a broker answers to such commits.
        """
        is_member = coordinator.generation != OffsetCommitRequest.DEFAULT_GENERATION_ID
        if offsets and not (is_member and assignment.active):
            raise IllegalGenerationError(coordinator.group_id)
        await MembersOnly.original(coordinator, assignment, offsets)


class HandledOnly:
    """The repaired acknowledgement."""

    original: ClassVar[Any] = Consumer.ack

    @staticmethod
    def ack(consumer: Consumer, message: Message) -> bool:
        """As the original, for a message that its stream has handed out; that is when a stream begins to track it."""
        return message.tracked and bool(HandledOnly.original(consumer, message))


def acknowledge_only_what_was_handed_out() -> None:
    """Install the seventh repair; installing it twice changes nothing."""
    repaired: Any = Consumer
    repaired.ack = HandledOnly.ack


def commit_only_as_member() -> None:
    """Install the sixth repair; installing it twice changes nothing."""
    repaired: Any = GroupCoordinator
    repaired._do_commit_offsets = MembersOnly.do_commit_offsets


def commit_only_after_seek() -> None:
    """Install the fifth repair; installing it twice changes nothing."""
    repaired: Any = Consumer
    repaired._should_commit = SoughtFirst.should_commit
