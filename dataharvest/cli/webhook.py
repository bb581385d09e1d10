"""`dataharvest webhook`: the secret that a tenant checks calls with, and what could not be told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from dataharvest.rules.text import counted

if TYPE_CHECKING:
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.contracts import Webhook

Answer = TypeVar("Answer")

NO_KEY = "DATAHARVEST_WEBHOOK_KEY is not set: no call can be signed; any text of at least 32 characters will do, kept secret"


@click.group("webhook")
def webhook() -> None:
    """Secrets of webhooks, and the calls that were not accepted."""


@webhook.command("secret")
@click.argument("tenant")
def secret(tenant: str) -> None:
    """Print the secret with which TENANT checks that calls are genuine."""
    from dataharvest.errors import Misconfigured
    from dataharvest.rules.signing import tenant_secret
    from dataharvest.settings import load_settings

    key = load_settings().webhook_key
    if key is None:
        raise Misconfigured(NO_KEY)
    found = asyncio.run(_with_database(lambda database: _webhook_of(database, tenant)))
    if found is None:
        raise click.BadParameter(f"the contract of {tenant!r} has no webhook", param_hint="TENANT")
    click.echo(tenant_secret(key.get_secret_value(), tenant, number=found.secret_number))


@webhook.command("list")
@click.option("--tenant", help="Only this tenant's.")
def list_calls(tenant: str | None) -> None:
    """Show the calls that wait or were given up, the oldest first."""
    from dataharvest.adapters.postgres.notifications import PostgresWebhookCalls

    async def look(database: "Database") -> "tuple[list[dict[str, Any]], int]":
        calls = PostgresWebhookCalls(database)
        return await calls.pending(tenant), await calls.accepted_count(tenant)

    found, accepted_count = asyncio.run(_with_database(look))
    if not found:
        was_made = f"every call was accepted: {accepted_count:,}" if accepted_count else "no call was ever made"
        click.echo(was_made)
    for one in found:
        click.echo(call_line(one))


def call_line(one: Mapping[str, Any]) -> str:
    """One call that was not accepted: what it tells whom, how often it was tried, and what comes next."""
    # What is told of a file whose name says no date has none.
    about = " ".join(str(part) for part in (one["tenant"], one["business_date"], one["kind"]) if part is not None)
    attempts = counted(one["attempt_count"], "attempt")
    failure = f": {one['last_failure']}" if one["last_failure"] else ""
    state = "given up" if one["state"] == "given_up" else f"next try at {one['next_try_at']:%F %T} UTC"
    return f"{about}, {attempts}, {state}{failure}"


@webhook.command("retry")
@click.option("--tenant", help="Only this tenant's.")
def retry(tenant: str | None) -> None:
    """Let every call that was not accepted be made again now."""
    from dataharvest.adapters.postgres.notifications import PostgresWebhookCalls

    count = asyncio.run(_with_database(lambda database: PostgresWebhookCalls(database).retry(tenant)))
    click.echo(f"{count:,} {'call is' if count == 1 else 'calls are'} made again")


async def _webhook_of(database: "Database", tenant: str) -> "Webhook | None":
    from dataharvest.adapters.postgres.contracts import PostgresContracts

    _, contract = await PostgresContracts(database).current(tenant)
    return contract.webhook


async def _with_database(work: "Callable[[Database], Awaitable[Answer]]") -> Answer:
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.settings import load_settings

    url = load_settings().database_url.get_secret_value()
    database = Database(url, pool_size=1, application_name="dataharvest webhook")
    try:
        await require_current_schema(database)
        return await work(database)
    finally:
        await database.close()
