"""Which of the other services `dataharvest status` finds silent: what workers wait for then, nobody can see in the database."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dataharvest.watchdog import answers

if TYPE_CHECKING:
    from dataharvest.settings import Settings

_PORTS = {"http": 80, "https": 443}


async def silent_services(settings: "Settings") -> list[str]:
    """Kafka and the object store with their addresses, if they accept no connection; without an address none is asked."""
    addresses = {"Kafka": settings.broker, "the object store": _address(settings.s3_endpoint_url)}
    asked = {name: address for name, address in addresses.items() if address}
    answered = await asyncio.gather(*(asyncio.to_thread(answers, address) for address in asked.values()))
    return [f"{name} at {address}" for (name, address), is_there in zip(asked.items(), answered, strict=True) if not is_there]


def _address(url: str | None) -> str | None:
    parts = urlsplit(url or "")
    return f"{parts.hostname}:{parts.port or _PORTS.get(parts.scheme, 443)}" if parts.hostname else None
