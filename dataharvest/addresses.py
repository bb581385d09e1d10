"""Addresses of services, as settings write them."""

from urllib.parse import urlsplit

KAFKA_PORT = 9092


def host_and_port(address: str, *, default_port: int) -> tuple[str, int]:
    """Host and port of ``host``, ``host:port`` or ``[::1]:port``.

    Raises:
        ValueError: it is no such address.
    """
    parts = urlsplit(f"//{address.strip()}")
    if not parts.hostname:
        raise ValueError(f"{address!r} names no host")
    return parts.hostname, parts.port or default_port
