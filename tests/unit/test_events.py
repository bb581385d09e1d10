"""What the events of every sender say."""

from typing import Any
from urllib.parse import quote_plus

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Rejected
from dataharvest.rules.events import EventObject, objects_in

MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "harvest/t/end of day/accounts_20240328.csv",
    "Records": [
        {
            "eventVersion": "2.0",
            "eventSource": "minio:s3",
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "configurationId": "Config",
                "bucket": {"name": "harvest"},
                "object": {"key": "t%2Fend+of+day%2Faccounts_20240328.csv", "size": 10, "versionId": "1"},
            },
        }
    ],
}
VERSITYGW = {
    "Records": [
        {
            "eventVersion": "2.2",
            "eventSource": "aws:s3",
            "eventName": "s3:ObjectCreated:CompleteMultipartUpload",
            "s3": {
                "configurationId": "kafka-global",
                "bucket": {"name": "harvest", "arn": "arn:aws:s3:::/harvest/t/a b+c%20d/Müller/accounts_20240328.csv"},
                "object": {
                    "key": "t/a b+c%20d/Müller/accounts_20240328.csv",
                    "size": 0,
                    "eTag": '"443111eec3a3d5f781f6066931f20164-4"',
                    "versionId": "",
                    "sequencer": "D",
                },
            },
        }
    ]
}
EVENT_BRIDGE = {
    "version": "0",
    "source": "aws.s3",
    "detail-type": "Object Created",
    "detail": {"bucket": {"name": "harvest"}, "object": {"key": "t/a+b.csv", "size": 5}, "reason": "PutObject"},
}


def aws(key: str, *, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    """One record as AWS sends it."""
    return {
        "eventSource": "aws:s3",
        "eventName": name,
        "s3": {
            "configurationId": "uploads",
            "bucket": {"name": "harvest"},
            "object": {"key": key, "size": 1, "eTag": "0", "versionId": None},
        },
    }


def sns(inner: object) -> dict[str, Any]:
    """An event as SNS passes it on to a queue."""
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:…", "Message": orjson.dumps(inner).decode()}


def found(event: object) -> tuple[EventObject, ...]:
    return objects_in(orjson.dumps(event))


def keys(event: object) -> list[tuple[str, ...]]:
    assert all(item.bucket == "harvest" for item in found(event))
    return [item.keys for item in found(event)]


@pytest.mark.parametrize(
    ("encoded", "meant"),
    [
        ("t/red+flower.csv", ("t/red flower.csv", "t/red+flower.csv")),
        ("t/a%2Bb.csv", ("t/a+b.csv", "t/a%2Bb.csv")),
        ("t/M%C3%BCller.csv", ("t/Müller.csv", "t/M%C3%BCller.csv")),
        ("t/plain.csv", ("t/plain.csv",)),
        ("t/100%.csv", ("t/100%.csv",)),
        ("t/%FF.csv", ("t/%FF.csv",)),
    ],
)
def test_aws_encodes_keys_and_a_plain_key_stays_possible(encoded: str, meant: tuple[str, ...]) -> None:
    assert keys({"Records": [aws(encoded)]}) == [meant]


def test_minio_encodes_slashes_too() -> None:
    assert keys(MINIO) == [("t/end of day/accounts_20240328.csv", "t%2Fend+of+day%2Faccounts_20240328.csv")]


def test_versitygw_says_aws_and_does_not_encode() -> None:
    raw = "t/a b+c%20d/Müller/accounts_20240328.csv"
    assert keys(VERSITYGW) == [(raw, "t/a b c d/Müller/accounts_20240328.csv")]


def test_event_bridge_does_not_encode() -> None:
    assert keys(EVENT_BRIDGE) == [("t/a+b.csv", "t/a b.csv")]


@pytest.mark.parametrize("event", [MINIO, VERSITYGW, EVENT_BRIDGE, {"Records": [aws("t/x.csv")]}])
def test_what_sns_wraps_says_the_same(event: object) -> None:
    assert found(sns(event)) == found(sns(sns(event))) == found(event) != ()


def test_every_record_of_a_message_counts_in_its_order() -> None:
    records = [aws("t/b.csv"), aws("t/gone.csv", name="ObjectRemoved:Delete"), aws("t/a.csv")]
    assert keys({"Records": records}) == keys(records) == [("t/b.csv",), ("t/a.csv",)]


@pytest.mark.parametrize(
    "event",
    [
        {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2024-03-28T05:00:00Z", "Bucket": "harvest"},
        {"Bucket": "Test-Bucket", "Event": "s3:TestEvent", "Service": "S3", "Time": "2024-03-28T05:00:00Z"},
        {"Records": [aws("t/x.csv", name="s3:ObjectRemoved:DeleteMarkerCreated")]},
        {"Records": [aws("t/x.csv", name="ObjectTagging:Put")]},
        {**EVENT_BRIDGE, "detail-type": "Object Deleted"},
        {"Records": []},
        [],
    ],
)
def test_an_event_about_no_new_content_names_nothing(event: object) -> None:
    assert found(event) == found(sns(event)) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"\xff\xfe",
        b"{}",
        b"null",
        b"7",
        b'"text"',
        b'{"Records": null}',
        b'{"Records": [{"s3": {}}]}',
        b'{"Records": [{"eventName": "ObjectCreated:Put"}]}',
        b'{"Records": [{"s3": {"bucket": {"name": "b"}, "object": {"key": ""}}}]}',
        b'{"Records": [{"s3": {"bucket": {"name": ""}, "object": {"key": "k"}}}]}',
        b'{"Records": [{"s3": {"bucket": {"name": 1}, "object": {"key": ["k"]}}}]}',
        b'{"Type": "Notification", "Message": "hello"}',
        b'{"source": "aws.s3", "detail-type": "Object Created", "detail": {}}',
        b"[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        objects_in(body)
    assert caught.value.rule == "unreadable_event"


def test_endless_wrapping_is_rejected() -> None:
    event: object = MINIO
    for _ in range(5):
        event = sns(event)
    with pytest.raises(Rejected):
        found(event)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["s3", "aws.s3", "Object Created", "{}", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Records", "s3", "bucket", "object", "key", "name", "Message", "detail", "detail-type", "source", "Event"]
            ),
            inner,
            max_size=4,
        )
    ),
)


@given(json_values)
def test_any_json_is_either_understood_or_rejected(event: object) -> None:
    try:
        assert isinstance(found(event), tuple)
    except Rejected as rejected:
        assert rejected.rule == "unreadable_event"


@given(st.text(min_size=1).filter(lambda text: text.isprintable()))
def test_the_true_key_is_among_those_meant(key: str) -> None:
    assert key in keys({"Records": [aws(quote_plus(key))]})[0]
    assert key in keys({"Records": [aws(key)]})[0]
