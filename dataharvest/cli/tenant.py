"""`dataharvest tenant`: pause and resume a tenant, and see who has what under way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from dataharvest.cli.asking import TenantName
from dataharvest.cli.stack import one_sentence

if TYPE_CHECKING:
    from dataharvest.adapters.postgres.tenants import PostgresTenants

Answer = TypeVar("Answer")


@click.group("tenant")
def tenant() -> None:
    """Pause and resume a tenant, and see who has what under way."""


@tenant.command("pause")
@click.argument("name", type=TenantName(), metavar="TENANT")
@click.option("--reason", default="", help="Why; `status` shows it.")
@one_sentence
def pause(name: str, reason: str) -> None:
    """Split nothing more of TENANT from the next chunk on; what was sent is still stored."""
    asyncio.run(_with_tenants(lambda tenants: tenants.pause(name, reason=reason)))
    click.echo(f"{name} is paused; `dataharvest tenant resume {name}` goes on with it")


@tenant.command("resume")
@click.argument("name", type=TenantName(), metavar="TENANT")
@one_sentence
def resume(name: str) -> None:
    """Go on with TENANT's files where they stopped."""
    resumed = asyncio.run(_with_tenants(lambda tenants: tenants.resume(name)))
    click.echo(f"{name} goes on" if resumed else f"{name} was not paused")


@tenant.command("list")
@one_sentence
def list_tenants() -> None:
    """Every tenant with its sets, the files being read and those that wait, and whether it is paused."""
    found = asyncio.run(_with_tenants(lambda tenants: tenants.list()))
    if not found:
        click.echo("no tenant has sent anything")
    for one in found:
        paused = f", paused since {one.paused_at:%F %T}{f' ({one.reason})' if one.reason else ''}" if one.paused_at else ""
        counts = f"{one.set_count:,} sets, {one.reading_count:,} files being read, {one.waiting_count:,} waiting"
        click.echo(f"{one.tenant}: {counts}{paused}")


async def _with_tenants(work: "Callable[[PostgresTenants], Awaitable[Answer]]") -> Answer:
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.adapters.postgres.tenants import PostgresTenants
    from dataharvest.settings import load_settings

    url = load_settings().database_url.get_secret_value()
    database = Database(url, pool_size=1, application_name="dataharvest tenant")
    try:
        await require_current_schema(database)
        return await work(PostgresTenants(database))
    finally:
        await database.close()
