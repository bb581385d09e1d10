"""What a message on one of our topics is about, as far as a replay has to know."""

from collections.abc import Collection
from typing import TypeAlias

from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.messages import (
    ChunkMetadata,
    Message,
    Notification,
    RuleReady,
    decode_chunk_metadata,
    decode_notification,
    decode_progress,
    decode_rule_ready,
    decode_work,
)
from dataharvest.replaying.dead_letters import SOURCE_HEADER, position_named
from dataharvest.replaying.log import LoggedMessage, Span
from dataharvest.replaying.requests import Request
from dataharvest.rules.events import objects_in

ObjectKeys: TypeAlias = tuple[str, ...]
Subject: TypeAlias = Message | Notification | ObjectKeys
"""What is said, what a tenant is told, or the keys of the objects that an event may mean."""

_DECODERS = {
    "chunks": decode_chunk_metadata,
    "progress": decode_progress,
    "readiness": decode_rule_ready,
    "work": decode_work,
    "notifications": decode_notification,
}


def subject_of(message: LoggedMessage) -> Subject | None:
    """What the message is about; None when it can't be read."""
    topic, value = message.position.topic, message.value
    if value is None:
        return None
    try:
        if topic == "uploads":
            return tuple(key for one in objects_in(value) for key in one.keys)
        decoded: Message | Notification = _DECODERS[topic](value)
    except Rejected:
        return None
    return decoded


def set_of(message: Message) -> SetKey:
    """The set that a message is about."""
    return SetKey(message.tenant, message.business_date)


class Wanted:
    """Tells the messages that a request means from the others in its ranges."""

    def __init__(self, request: Request, *, object_keys: Collection[str], spans: dict[int, Span]) -> None:
        """``object_keys`` are those of the sets that the request names; ``spans`` its ranges by partition."""
        self._request = request
        self._object_keys = object_keys
        self._spans = spans

    def wants(self, message: LoggedMessage) -> bool:
        """Whether the message is meant; a copy is not when its original is."""
        return self._is_about_it(message) and not self.is_copy(message)

    def is_copy(self, message: LoggedMessage) -> bool:
        """Whether an earlier replay made the message of one in our ranges: otherwise every replay would double them."""
        for name, value in message.headers:
            if name == SOURCE_HEADER and value is not None:
                try:
                    source = position_named(value.decode())
                except (Rejected, UnicodeDecodeError):
                    return False
                span = self._spans.get(source.partition)
                return source.topic == message.position.topic and span is not None and span.start <= source.offset < span.stop
        return False

    def _is_about_it(self, message: LoggedMessage) -> bool:
        if not self._request.names_sets:
            return True
        subject = subject_of(message)
        if isinstance(subject, tuple):
            return any(key in self._object_keys for key in subject)
        return subject is not None and self._request.means(subject.tenant, subject.business_date)


__all__ = ["ChunkMetadata", "RuleReady", "Subject", "Wanted", "set_of", "subject_of"]
