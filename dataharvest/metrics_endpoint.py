"""Where Prometheus finds the metrics of a worker or splitter: a port, if one is asked for, on loopback unless told otherwise."""

import errno
import logging
from collections.abc import Callable
from functools import partial
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import start_http_server

from dataharvest.metrics import REGISTRY

logger = logging.getLogger(__name__)

PORTS_TRIED = 32
"""Several workers of a machine have the same setting: each takes the first port that is free, from the named one on."""

Close = Callable[[], None]


def serve_metrics(port: int | None, *, host: str) -> Close | None:
    """Answer scrapes in a thread of its own; what ends that again.

    None when no port is asked for, or none is free: then that is logged, for a worker without metrics is better than none.
    """
    if port is None:
        return None
    for candidate in range(port, min(port + PORTS_TRIED, 65_536)):
        try:
            server, thread = start_http_server(candidate, addr=host, registry=REGISTRY)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
        else:
            logger.info("metrics are served", extra={"host": host, "port": server.server_port})
            return partial(_close, server, thread)
    logger.error("no port is free, metrics are not served", extra={"first_port": port, "tried": PORTS_TRIED})
    return None


def _close(server: WSGIServer, thread: Thread) -> None:
    server.shutdown()
    server.server_close()
    thread.join()
