"""What goes out per client or portfolio: new, changed or withdrawn, and nothing where nothing changed."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from hashlib import sha1, sha256
from typing import Any, NamedTuple
from uuid import UUID

import orjson

NAMESPACE = UUID("7c0e2a52-2f0a-5b0e-9c0b-5d7a3f1c8e64")
"""Namespace of message ids; a constant of the contract, never to be changed."""

_WITHDRAWN = {"withdrawn": True}
ENVELOPE = ("message_id", "tenant", "business_date", "version", "supersedes")
"""Fields of every message that say which one it is; what it says of its client or portfolio comes after them."""
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
"""The digit that says how a UUID is laid out, in its first two bits; the other two are the hash's."""


class LastMessage(NamedTuple):
    """The newest message of a key."""

    message_id: str
    content_sha256: bytes
    withdrawn: bool


class OutboundRow(NamedTuple):
    """A message that has to go out.

    UUIDs are text: a set has hundreds of thousands, and to make an object of each costs more than to hash it.
    """

    message_id: str
    reference: str
    supersedes: str | None
    withdrawn: bool
    content_sha256: bytes
    payload: bytes


class Envelope(NamedTuple):
    """What all messages of one batch have in common."""

    tenant: str
    business_date: date
    version: int
    kind: str
    reference_field: str


def changed_messages(
    contents: Iterable[Mapping[str, Any]], *, last: Mapping[str, LastMessage], envelope: Envelope
) -> Iterator[OutboundRow]:
    """The messages that differ from the last ones of their keys, in the order of ``contents``, then the withdrawals.

    Args:
        contents: per client or portfolio of the batch, ``reference`` and the message's fields.
        last: the newest message of each key of the batch, by reference.
        envelope: what all messages share.
    """
    present: set[str] = set()
    identity_of = _identities(envelope)
    for content in contents:
        fields = dict(content)
        reference = fields.pop("reference")
        present.add(reference)
        if row := _if_changed(reference, fields, last.get(reference), envelope, identity_of):
            yield row
    for reference in sorted(set(last) - present):
        if row := _if_changed(reference, _WITHDRAWN, last[reference], envelope, identity_of):
            yield row


def content_sha256(payload: bytes | str) -> bytes:
    """The hash of the content of a message that was made here, from what went out."""
    fields = orjson.loads(payload)
    for name in ENVELOPE:
        del fields[name]
    return _hashed(fields)


def message_id(envelope: Envelope, reference: str) -> UUID:
    """The same for the same key and version, whoever computes it and however often."""
    return UUID(_identities(envelope)(reference))


def _identities(envelope: Envelope) -> Callable[[str], str]:
    """The message id of a reference: a UUIDv5, whose beginning all messages of a batch share and which is hashed once."""
    beginning = sha1(NAMESPACE.bytes + f"{envelope.tenant}|{envelope.kind}|".encode(), usedforsecurity=False)
    end = f"|{envelope.business_date.isoformat()}|{envelope.version}"

    def identity_of(reference: str) -> str:
        hashed = beginning.copy()
        hashed.update((reference + end).encode())
        found = hashed.hexdigest()
        return f"{found[:8]}-{found[8:12]}-5{found[13:16]}-{_VARIANT[found[16]]}{found[17:20]}-{found[20:32]}"

    return identity_of


def _hashed(content: Mapping[str, Any]) -> bytes:
    # Without id, version and supersedes: equal content has an equal hash in every version.
    return sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def _if_changed(
    reference: str,
    fields: Mapping[str, Any],
    last: LastMessage | None,
    envelope: Envelope,
    identity_of: Callable[[str], str],
) -> OutboundRow | None:
    content_sha256 = _hashed({envelope.reference_field: reference, **fields})
    if last is not None and last.content_sha256 == content_sha256:
        return None
    identity = identity_of(reference)
    supersedes = last.message_id if last else None
    payload = orjson.dumps(
        {
            "message_id": identity,
            "tenant": envelope.tenant,
            "business_date": envelope.business_date,
            "version": envelope.version,
            "supersedes": supersedes,
            envelope.reference_field: reference,
            **fields,
        }
    )
    return OutboundRow(identity, reference, supersedes, "withdrawn" in fields, content_sha256, payload)
