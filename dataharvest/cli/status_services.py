"""Which of the other services `dataharvest status` finds silent: what workers wait for then, nobody can see in the database."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dataharvest.addresses import KAFKA_PORT, host_and_port

if TYPE_CHECKING:
    from dataharvest.settings import Settings

_PORTS = {"http": 80, "https": 443}
_PATIENCE_S = 2.0


async def silent_services(settings: "Settings") -> list[str]:
    """Kafka and the object store with their addresses, if they accept no connection; without an address none is asked."""
    asked = {f"Kafka at {settings.broker}": _any(settings.broker.split(","), default_port=KAFKA_PORT)}
    store = urlsplit(settings.s3_endpoint_url or "")
    if store.hostname:
        # Without the name and password that may stand in the address.
        address = store.netloc.rpartition("@")[2]
        asked[f"the object store at {address}"] = _any([address], default_port=_PORTS.get(store.scheme, 443))
    answered = await asyncio.gather(*asked.values())
    return [name for name, is_there in zip(asked, answered, strict=True) if not is_there]


async def _any(addresses: list[str], *, default_port: int) -> bool:
    return any(await asyncio.gather(*(_accepts(one, default_port=default_port) for one in addresses)))


async def _accepts(address: str, *, default_port: int) -> bool:
    try:
        host, port = host_and_port(address, default_port=default_port)
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), _PATIENCE_S)
    except (OSError, TimeoutError, ValueError):
        return False
    writer.close()
    return True
