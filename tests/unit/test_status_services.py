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
