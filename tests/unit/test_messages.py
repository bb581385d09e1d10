"""What is decoded is what was encoded; anything else is rejected, and the reason never quotes it."""

from collections.abc import Callable
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Rejected
from dataharvest.messages import (
    Batch,
    BatchDone,
    ChunkMetadata,
    ChunkPersisted,
    DeliveryJudged,
    DeliveryRemoved,
    DeliverySealed,
    EditionRaised,
    ManifestRead,
    Message,
    RuleReady,
    decode_batch,
    decode_chunk,
    decode_progress,
    decode_rule_ready,
    encode_chunk,
)

SECRET = "Frida-Müller-801"

tenants = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12)
indexes = st.integers(0, 2**31 - 1)
identities = st.integers(1, 2**63 - 1)
places = st.integers(0, 2**63 - 1)
common = {"tenant": tenants, "business_date": st.dates()}
sets = {"version": st.integers(1, 9), "rule": texts}
batches = {"batch": indexes, "batch_count": st.integers(1, 2**31 - 1)}

progress = st.one_of(
    st.builds(DeliverySealed, **common, delivery_id=identities, entity=texts, chunk_count=indexes),
    st.builds(ChunkPersisted, **common, delivery_id=identities, entity=texts, index=indexes),
    st.builds(DeliveryRemoved, **common, delivery_id=identities, entity=texts, state=texts),
    st.builds(DeliveryJudged, **common, delivery_id=identities, entity=texts),
    st.builds(BatchDone, **common, **sets, **batches),
    st.builds(ManifestRead, **common, manifest_id=identities),
    st.builds(EditionRaised, **common, edition=st.integers(1, 2**31 - 1)),
)
chunk_metadata = st.builds(
    ChunkMetadata,
    **common,
    delivery_id=identities,
    entity=texts,
    index=indexes,
    byte_offset=places,
    byte_length=places,
    first_line=places,
    sha256=texts,
    columns=st.lists(st.none() | texts).map(tuple),
    header=st.binary(),
    delimiter=st.characters(exclude_categories=["Cs"]),
    misaligned_tail=st.booleans(),
)
Decoder = Callable[[bytes], object]
DECODERS: list[Decoder] = [decode_progress, decode_rule_ready, decode_batch, decode_chunk]


@given(progress)
def test_a_fact_comes_back_equal(message: Message) -> None:
    assert decode_progress(message.encode()) == message


@given(st.builds(RuleReady, **common, **sets))
def test_a_readiness_comes_back_equal(message: RuleReady) -> None:
    assert decode_rule_ready(message.encode()) == message


@given(st.builds(Batch, **common, **sets, **batches))
def test_a_batch_comes_back_equal(message: Batch) -> None:
    assert decode_batch(message.encode()) == message


@given(chunk_metadata, st.binary(max_size=2000))
def test_a_chunk_comes_back_equal_byte_for_byte(metadata: ChunkMetadata, data: bytes) -> None:
    assert decode_chunk(encode_chunk(metadata, data)) == (metadata, data)


@given(st.sampled_from(DECODERS), st.binary(max_size=300))
def test_garbage_is_rejected_and_nothing_else_happens(decode: Decoder, garbage: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        decode(garbage)
    assert refused.value.rule == "unreadable_message"


ACCEPTED = ChunkPersisted(tenant="acme", business_date=date(2026, 11, 23), delivery_id=1, entity="accounts", index=0).encode()


@pytest.mark.parametrize("decode", DECODERS)
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"{}",
        b'{"type": "nonsense"}',
        f'"{SECRET}"'.encode(),
        f'{{"type": "{SECRET}"}}'.encode(),
        f'{{"type": "chunk_persisted", "tenant": 5, "{SECRET}": "{SECRET}"}}'.encode(),
        ACCEPTED.replace(b"2026-11-23", SECRET.encode()),
        ACCEPTED.replace(b'"index":0', f'"index":"{SECRET}"'.encode()),
        ACCEPTED.replace(b'"index":0', f'"index":0,"more":"{SECRET}"'.encode()),
        ACCEPTED.replace(b'"index":0', b'"index":-1'),
        ACCEPTED.replace(b'"index":0', b'"index":2147483648'),
        ACCEPTED.replace(b'"delivery_id":1', b'"delivery_id":9223372036854775808'),
        ACCEPTED.replace(b'"accounts"', b'"acc\\u0000ounts"'),
        ACCEPTED.replace(b'"acme"', b'"acme\\n"'),
        ACCEPTED.replace(b'"acme"', b'"' + b"a" * 65 + b'"'),
        b"\xff\xfe" + SECRET.encode(),
        SECRET.encode() + b"\n" + SECRET.encode(),
    ],
)
def test_the_reason_says_where_but_never_what(decode: Decoder, value: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        decode(value)
    assert refused.value.rule == "unreadable_message"
    assert SECRET not in str(refused.value)
    assert SECRET not in str(refused.value.details)


def a_chunk(data: bytes) -> bytes:
    metadata = ChunkMetadata(
        tenant="acme",
        business_date=date(2026, 11, 23),
        delivery_id=1,
        entity="accounts",
        index=0,
        byte_offset=0,
        byte_length=len(data),
        first_line=2,
        sha256="",
        columns=("a", None),
        header=b"a,b",
    )
    return encode_chunk(metadata, data)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_chunk_cut_short_is_rejected(cut: int) -> None:
    with pytest.raises(Rejected):
        decode_chunk(a_chunk(bytes(range(256)) * 4)[:-cut])


def test_a_chunk_that_unpacks_to_more_than_a_chunk_may_be_is_rejected() -> None:
    assert len(decode_chunk(a_chunk(bytes(1 << 23)))[1]) == 1 << 23
    bomb = a_chunk(bytes((1 << 23) + 1))
    assert len(bomb) < 10_000
    with pytest.raises(Rejected, match="unpacks to"):
        decode_chunk(bomb)


def test_keys_keep_a_set_together_and_spread_chunks_and_batches() -> None:
    common_fields = {"tenant": "acme", "business_date": date(2026, 11, 23)}
    assert ChunkPersisted(**common_fields, delivery_id=1, entity="x", index=3).key == b"acme|2026-11-23"
    assert RuleReady(**common_fields, version=2, rule="tax").key == b"acme|2026-11-23"
    assert Batch(**common_fields, version=2, rule="tax", batch=3, batch_count=4).key == b"acme|2026-11-23|2|tax|3"
    assert decode_chunk(a_chunk(b""))[0].key == b"1:0"
