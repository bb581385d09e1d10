"""`dataharvest web`: the status page and its JSON API."""

import asyncio
import ipaddress
import logging.config
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    import uvicorn

    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.objects import ObjectStore
    from dataharvest.settings import Settings
    from dataharvest.web.parts import Parts

_LOOK_S = 0.5
_GRACE_S = 5
_OPEN = "--without-login"


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 takes a free one.")
@click.option(_OPEN, "without_login", is_flag=True, help="Listen on an address that others reach although nobody has to log in.")
@click.option("--name", "names", multiple=True, help="A name that browsers may call the page by; may be given more than once.")
def web(*, host: str, port: int, without_login: bool, names: tuple[str, ...]) -> None:
    """Show every set in a browser: where it stands, why, and a place to drop files; the same as JSON under /api."""
    if not without_login and not is_loopback(host):
        raise click.UsageError(
            f"the page has no login yet: whoever reaches {host} could read every tenant's data and upload files. "
            f"Keep to 127.0.0.1 and put a proxy that asks who it is before it, or say {_OPEN} to listen there all the same"
        )
    from dataharvest.settings import load_settings

    settings = load_settings()
    logging.config.dictConfig(logging_config_of(settings))
    listening = _listen(host, port)
    names = (host, *names, "127.0.0.1", "localhost", "[::1]")
    asyncio.run(_serve(settings, listening, names=sorted({name for name in names if name not in ("0.0.0.0", "::")})))


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def logging_config_of(settings: "Settings") -> dict[str, object]:
    """As for a worker."""
    from dataharvest.logs import logging_config

    return logging_config(settings.log_format)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), port), family=family)
    except OSError as error:
        why = error.strerror or str(error)
        raise click.UsageError(f"can't listen on {host}, port {port}: {why}; choose others with --host and --port") from error


def _server(config: "uvicorn.Config") -> "uvicorn.Server":
    """A server that ends in order when it is told to; uvicorn's own raises the signal once more, like a crash."""
    import uvicorn

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, self.handle_exit, number, None)
            yield

    return Server(config)


async def _serve(settings: "Settings", listening: socket.socket, *, names: list[str]) -> None:
    import uvicorn

    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.adapters.s3 import UPLOAD_ANSWER_S, S3ObjectStore
    from dataharvest.services import s3_client_of
    from dataharvest.web.application import build_application

    url = settings.database_url.get_secret_value()
    database = Database(url, pool_size=settings.database_pool_size, application_name="dataharvest web")
    objects = S3ObjectStore(s3_client_of(settings), uploads_by=s3_client_of(settings, answer_s=UPLOAD_ANSWER_S))
    parts = _parts(settings, database, objects, stopping=lambda: server.should_exit)
    application = build_application(parts, hosts=names)
    config = uvicorn.Config(
        application, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
    )
    server = _server(config)
    try:
        await require_current_schema(database)
        host, port = listening.getsockname()[:2]
        click.echo(f"the page is at http://{f'[{host}]' if ':' in host else host}:{port}/")
        await server.serve(sockets=[listening])
    finally:
        objects.close()
        await database.close()


def _parts(settings: "Settings", database: "Database", objects: "ObjectStore", *, stopping: Callable[[], bool]) -> "Parts":
    from dataharvest.adapters.kafka_admin import KafkaConsumption
    from dataharvest.adapters.postgres.contracts import PostgresContracts
    from dataharvest.adapters.postgres.measurements import PostgresMeasurements
    from dataharvest.adapters.postgres.status import PostgresStatus
    from dataharvest.measuring import Measuring
    from dataharvest.rulebook import all_rules, required_entities
    from dataharvest.settings import APP_ID
    from dataharvest.web.parts import Parts
    from dataharvest.web.pulse import Pulse
    from dataharvest.web.shared_boards import SharedBoards

    reader = PostgresStatus(database, required=required_entities(), rules=list(all_rules().values()))
    return Parts(
        reader=reader,
        boards=SharedBoards(reader),
        objects=objects,
        contracts=PostgresContracts(database),
        bucket=settings.s3_bucket,
        pulse=Pulse(reader, interval_s=_LOOK_S, stopping=stopping),
        measuring=Measuring(
            PostgresMeasurements(database, required=required_entities()), KafkaConsumption(settings.broker, group=APP_ID)
        ),
        max_content_bytes=settings.max_content_bytes,
    )
