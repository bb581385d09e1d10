"""Addresses of services are read as Kafka's clients read them."""

import pytest

from dataharvest.addresses import host_and_port


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("kafka", ("kafka", 9092)),
        (" kafka:29092 ", ("kafka", 29092)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:9093", ("::1", 9093)),
        ("[::1]", ("::1", 9092)),
    ],
)
def test_a_host_may_come_with_its_port(address: str, expected: tuple[str, int]) -> None:
    assert host_and_port(address, default_port=9092) == expected


@pytest.mark.parametrize("address", ["", ":9092", "kafka:many", "kafka:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError):
        host_and_port(address, default_port=9092)
