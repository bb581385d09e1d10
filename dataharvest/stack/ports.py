"""Which TCP ports the embedded services get."""

import random
import socket
from collections.abc import Container
from pathlib import Path

HOST = "127.0.0.1"
LOWEST_PORT = 10_240
USUAL_EPHEMERAL_START = 32_768
EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
PORT_SPAN = 12_000
ATTEMPT_COUNT = 200
CONNECT_TIMEOUT_S = 1.0


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        # Without this, connections of a server that just ended (TIME_WAIT) would make its own port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something accepts connections on ``port``."""
    try:
        with socket.create_connection((HOST, port), timeout=CONNECT_TIMEOUT_S):
            return True
    except OSError:
        return False


def keep_or_choose(recorded: int | None, *, taken: Container[int] = ()) -> int:
    """``recorded`` if it is still free, else a free port outside ``taken``.

    Raises:
        OSError: no free port was found.
    """
    if recorded is not None and recorded not in taken and is_free(recorded):
        return recorded
    # Ports the kernel hands to outgoing connections are avoided: a client that keeps trying to reach a stopped
    # server on such a port can, by chance, connect to itself and so take the port for good.
    highest = ephemeral_start()
    return choose(range(max(LOWEST_PORT, highest - PORT_SPAN), highest), taken=taken)


def choose(candidates: range, *, taken: Container[int]) -> int:
    """One of the ports that is free and not among ``taken``, by chance.

    Raises:
        OSError: no free port was found.
    """
    for port in random.SystemRandom().sample(candidates, ATTEMPT_COUNT):
        if port not in taken and is_free(port):
            return port
    raise OSError("no free port found for an embedded service")


def ephemeral_start() -> int:
    """The first port that the kernel uses for outgoing connections, never so low that no room is left below."""
    try:
        start = int(EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return USUAL_EPHEMERAL_START
    return start if start >= LOWEST_PORT + PORT_SPAN // 2 else USUAL_EPHEMERAL_START
