"""Services that do not answer are named with their address."""

import socket

from dataharvest.cli.status_services import silent_services
from dataharvest.settings import Settings


def _settings(*, broker: str, endpoint: str | None) -> Settings:
    return Settings(broker=broker, database_url="postgresql://nobody@127.0.0.1:1/none", s3_bucket="b", s3_endpoint_url=endpoint)


async def test_a_service_that_accepts_no_connection_is_named_and_one_that_does_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"

        assert await silent_services(_settings(broker=there, endpoint=f"http://{there}")) == []
        assert await silent_services(_settings(broker="127.0.0.1:1", endpoint=f"http://{there}")) == ["Kafka at 127.0.0.1:1"]
        assert await silent_services(_settings(broker=there, endpoint="http://127.0.0.1:1/path")) == [
            "the object store at 127.0.0.1:1"
        ]


async def test_a_store_without_an_address_of_its_own_is_not_asked() -> None:
    assert await silent_services(_settings(broker="127.0.0.1:1", endpoint=None)) == ["Kafka at 127.0.0.1:1"]


async def test_one_of_several_brokers_is_enough_and_an_address_may_lack_its_port_or_be_nonsense() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        there = f"127.0.0.1:{server.getsockname()[1]}"

        assert await silent_services(_settings(broker=f"127.0.0.1:1, {there}", endpoint=None)) == []
        assert await silent_services(_settings(broker="127.0.0.1:no-port", endpoint=None)) == ["Kafka at 127.0.0.1:no-port"]


async def test_what_is_secret_in_an_address_is_not_shown() -> None:
    [_, store] = await silent_services(_settings(broker="127.0.0.1:1", endpoint="http://name:secret@127.0.0.1:1"))

    assert store == "the object store at 127.0.0.1:1"
