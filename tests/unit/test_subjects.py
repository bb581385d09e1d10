"""What a message is about, as a dead letter remembers it."""

from datetime import date

import pytest

from dataharvest.messages import Batch, ChunkMetadata, Judgement, encode_chunk
from dataharvest.rules.subjects import Subject, subject_of

DAY = date(2026, 11, 23)
SHA256 = bytes(range(32))


def chunk(sha256: str = SHA256.hex()) -> ChunkMetadata:
    return ChunkMetadata(
        tenant="acme",
        business_date=DAY,
        delivery_id=7,
        entity="accounts",
        index=3,
        byte_offset=0,
        byte_length=1,
        first_line=2,
        sha256=sha256,
        columns=("record_id",),
        header=b"record_id",
    )


def test_a_chunk_is_about_its_delivery_index_and_bytes_even_if_these_cannot_be_unpacked() -> None:
    value = encode_chunk(chunk(), b"x").partition(b"\n")[0]
    for payload in (b"", b"\n", b"\nno zstd at all"):
        assert subject_of("chunks", value + payload) == Subject(7, 3, SHA256)


def test_a_judgement_is_about_its_delivery_and_a_batch_about_none() -> None:
    judgement = Judgement(tenant="acme", business_date=DAY, delivery_id=7, entity="accounts")
    batch = Batch(tenant="acme", business_date=DAY, version=1, rule="tax", batch=0, batch_count=1)
    assert subject_of("work", judgement.encode()) == Subject(7)
    assert subject_of("work", batch.encode()) == Subject()


@pytest.mark.parametrize("topic", ["chunks", "work", "uploads"])
@pytest.mark.parametrize("value", [None, b"", b"{}", b"\xff\xfe", chunk("no hash").encode()])
def test_what_cannot_be_read_is_about_nothing(topic: str, value: bytes | None) -> None:
    assert subject_of(topic, value) == Subject()
