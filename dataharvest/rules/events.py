"""What an S3 event says: which objects are worth a look.

An event is only a hint. Its version, size and time are not read at all, and because senders do not agree on
whether keys are URL-encoded, every key an event may mean is returned, the likeliest first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote_plus

import orjson

from dataharvest.errors import Rejected

# Events that can mean new content; removals, tags and permissions cannot.
_ABOUT_CONTENT = ("ObjectCreated", "ObjectRestore:Completed")
_ABOUT_CONTENT_EVENT_BRIDGE = {"Object Created", "Object Restore Completed"}
# versitygw says ``aws:s3`` like AWS and is told apart only by these configuration ids.
_SENDERS_OF_PLAIN_KEYS = {"kafka-global", "nats-global", "webhook-global", "rabbitmq-global"}
# SNS may carry an EventBridge event; nothing real is wrapped more often.
_DEEPEST_WRAPPING = 3


@dataclass(frozen=True, kw_only=True)
class EventObject:
    """An object that may have new content."""

    bucket: str
    keys: tuple[str, ...]
    """The keys the event may mean, likeliest first; one or two. Each that exists deserves a look."""


def objects_in(body: bytes) -> tuple[EventObject, ...]:
    """The objects that an S3 notification names, in its order.

    Understands what AWS, MinIO and versitygw send, one record or several, and bodies wrapped by SNS or
    EventBridge. A test event, a removal and an empty list of records name nothing.

    Raises:
        Rejected: rule ``unreadable_event``: not JSON, no shape we know, or one record of several is damaged.
    """
    return tuple(_objects_of(_json(body), depth=0))


def _json(text: bytes | str) -> object:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"the event is not JSON: {error}", rule="unreadable_event") from error


def _objects_of(event: object, *, depth: int) -> Iterator[EventObject]:
    match event:
        case {"Event": "s3:TestEvent"}:
            return
        case {"Records": list(records)} | list(records):
            for record in records:
                yield from _object_of_record(record)
        case {"detail-type": str(kind), "source": str(), "detail": dict(detail)}:
            if kind in _ABOUT_CONTENT_EVENT_BRIDGE:
                yield _object_of(detail, plain=True)
        case {"Message": str(inner)} if depth < _DEEPEST_WRAPPING:
            yield from _objects_of(_json(inner), depth=depth + 1)
        case _:
            raise _unreadable("it has none of the shapes that AWS, MinIO, versitygw, SNS and EventBridge send")


def _object_of_record(record: object) -> Iterator[EventObject]:
    match record:
        case {"s3": dict(s3), **rest}:
            name = str(rest.get("eventName", "ObjectCreated")).removeprefix("s3:")
            if name.startswith(_ABOUT_CONTENT):
                yield _object_of(s3, plain=s3.get("configurationId") in _SENDERS_OF_PLAIN_KEYS)
        case _:
            raise _unreadable("a record has no part `s3`")


def _object_of(place: dict[str, object], *, plain: bool) -> EventObject:
    match place:
        case {"bucket": {"name": str(bucket)}, "object": {"key": str(key)}} if bucket and key:
            return EventObject(bucket=bucket, keys=_keys_meant(key, plain=plain))
        case _:
            raise _unreadable("the name of the bucket or the object's key is missing")


def _keys_meant(key: str, *, plain: bool) -> tuple[str, ...]:
    try:
        decoded = unquote_plus(key, errors="strict")
    except UnicodeDecodeError:
        return (key,)
    likeliest_first = (key, decoded) if plain else (decoded, key)
    return tuple(dict.fromkeys(likeliest_first))


def _unreadable(why: str) -> Rejected:
    return Rejected(f"the event cannot be read: {why}", rule="unreadable_event")
