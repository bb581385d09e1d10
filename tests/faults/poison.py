"""Twenty-five messages that should never have been sent, and where each has to end."""

import json
from dataclasses import dataclass
from datetime import date
from hashlib import sha256

from dataharvest.messages import ChunkMetadata, encode_chunk


@dataclass(frozen=True)
class Poison:
    """One message."""

    name: str
    topic: str
    value: bytes | None
    rule: str = "unreadable_message"
    """Under which it is dead-lettered; empty when it is only passed."""
    key: bytes = b"poison"


def _json(**fields: object) -> bytes:
    return json.dumps({"tenant": "poison", "business_date": "2026-11-23", **fields}).encode()


def _event(bucket: str, key: object) -> bytes:
    return json.dumps(
        {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}
    ).encode()


NEVER_WAS = 999_999_999
"""A delivery that is not in the ledger."""
_DATA = b"1,A1,1.00,EUR,0\n"
_CHUNK = ChunkMetadata(
    tenant="poison",
    business_date=date(2026, 11, 23),
    delivery_id=NEVER_WAS,
    entity="accounts",
    index=0,
    byte_offset=0,
    byte_length=len(_DATA),
    first_line=2,
    sha256=sha256(_DATA).hexdigest(),
    columns=("record_id", "account_number", "cash_balance", "currency", "taxes_paid"),
    header=b"record_id,account_number,cash_balance,currency,taxes_paid",
)


def _chunk(data: bytes = _DATA, **changes: object) -> bytes:
    return encode_chunk(_CHUNK.model_copy(update=changes), data)


POISON = (
    Poison("half a JSON object", "uploads", b'{"Records": [', "unreadable_event"),
    Poison("nothing at all", "uploads", b"", "unreadable_event"),
    Poison("bytes of zero", "uploads", b"\0" * 64, "unreadable_event"),
    Poison("a number", "uploads", b"42", "unreadable_event"),
    Poison("records that are none", "uploads", b'{"Records": "all"}', "unreadable_event"),
    Poison("ten thousand brackets", "uploads", b"[" * 10_000, "unreadable_event"),
    Poison("a message without a value", "uploads", None, "empty_message"),
    Poison("a key that is a number", "uploads", _event("dataharvest", 7), "unreadable_event"),
    Poison("another bucket", "uploads", _event("elsewhere", "a/accounts_20261123.csv"), ""),
    Poison("an object that never was", "uploads", _event("dataharvest", "nobody/accounts_20261123.csv"), ""),
    Poison("no metadata", "chunks", b"\xff\xfe\x00garbage"),
    Poison("metadata and a broken frame", "chunks", _CHUNK.encode() + b"\nno zstd"),
    Poison("bytes that another hash belongs to", "chunks", _chunk(b"2,A2,2.00,EUR,0\n"), "chunk_damaged"),
    Poison("an entity that nobody knows", "chunks", _chunk(entity="invoices"), "unknown_entity"),
    Poison("a delivery that never was", "chunks", _chunk(), "", key=_CHUNK.key),
    Poison("a delivery number beyond 64 bits", "chunks", _chunk(delivery_id=2**70)),
    Poison("a chunk without a value", "chunks", None, "empty_message"),
    Poison("no JSON", "progress", b"\x00\x01"),
    Poison("a fact that nobody knows", "progress", _json(type="moon_phase")),
    Poison(
        "a delivery number beyond 64 bits",
        "progress",
        _json(type="chunk_persisted", delivery_id=2**64, entity="accounts", index=1),
    ),
    Poison(
        "a date that is none", "progress", _json(type="batch_done", business_date="2026-13-41", version=1, rule="tax", batch=0)
    ),
    Poison("a version beyond 32 bits", "readiness", _json(type="rule_ready", version=2**40, rule="tax")),
    Poison("a rule that nobody knows", "readiness", _json(type="rule_ready", version=1, rule="astrology"), "unknown_rule"),
    Poison(
        "a rule that nobody knows",
        "work",
        _json(type="batch", version=1, rule="astrology", batch=0, batch_count=1),
        "unknown_rule",
    ),
    Poison("a delivery to be judged that never was", "work", _json(type="judge", delivery_id=NEVER_WAS, entity="accounts"), ""),
)
