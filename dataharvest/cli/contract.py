"""`dataharvest contract`: say how a tenant's files are read, and try it on a file before it is sent."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dataharvest.adapters.postgres.contracts import PostgresContracts
    from dataharvest.contracts import Contract

_PIECE_BYTES = 1 << 16

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


def _tenant(_: click.Context, __: click.Parameter, value: str) -> str:
    from dataharvest.errors import Rejected
    from dataharvest.rules.keys import tenant_of

    try:
        named = tenant_of(f"{value}/")
    except Rejected:
        named = None
    if named != value:
        raise click.BadParameter("1 to 64 of the characters A-Z a-z 0-9 _ . - are needed")
    return value


_tenant_option = click.option("--tenant", required=True, callback=_tenant, help="Whose contract.")


@click.group()
def contract() -> None:
    """Say how a tenant's files are read and judged, or check a file against it."""


@contract.command()
@click.argument("file", type=_file)
@_tenant_option
@click.option("--entity", help="Kind of file; by default the file's name says it.")
@click.option("--contract", "draft", type=_file, help="A contract that is not applied yet, instead of the tenant's.")
def check(file: Path, *, tenant: str, entity: str | None, draft: Path | None) -> None:
    """Read the first MiB of FILE and say, column by column, what does not fit; exits 1 unless everything fits.

    The text can be mailed to the sender: it holds no value of a personal column.
    """
    from dataharvest.contract_check import SampleReport, check_sample
    from dataharvest.contract_report import text_of
    from dataharvest.contract_sample import sample_of
    from dataharvest.entities import all_entities
    from dataharvest.errors import Rejected

    name = _entity_of(file.name, entity)
    terms = _read(draft) if draft else asyncio.run(_current(tenant))[1]
    try:
        sample = sample_of(_pieces(file), name=file.name, contract=terms)
        report = check_sample(sample, entity=name, contract=terms)
    except Rejected as reason:
        report = SampleReport(all_entities()[name], terms, is_whole=False, content_bytes=0, rejected=reason)
    click.echo(text_of(report, name=file.name))
    sys.exit(0 if report.fits else 1)


@contract.command()
@click.argument("file", type=_file)
@_tenant_option
@click.option("--plan", is_flag=True, help="Only show what would change.")
@click.option("--yes", is_flag=True, help="Do not ask before storing.")
def apply(file: Path, *, tenant: str, plan: bool, yes: bool) -> None:
    """Store the contract in FILE (YAML) as the tenant's next version; deliveries registered from then on are read under it.

    What it says of whole sets holds at once: sets that an earlier contract held up and this one does not go on.
    """
    new = _read(file)
    number, changes = asyncio.run(_changes(tenant, new))
    for sentence in changes:
        click.echo(sentence)
    if not changes:
        if not plan:
            # Perhaps a set was blocked under an older version while this one was stored.
            asyncio.run(_apply(tenant, new))
        click.echo(f"nothing changes: {_called(tenant, number)}")
    elif not plan and (yes or click.confirm(f"Store this as version {number + 1} of {tenant}?", abort=True)):
        click.echo(f"stored: {_called(tenant, asyncio.run(_apply(tenant, new)))}")


@contract.command()
@_tenant_option
@click.option("--version", "number", type=click.IntRange(min=0), help="An older version; 0 are the defaults.")
def show(*, tenant: str, number: int | None) -> None:
    """Print the tenant's contract as YAML, as `apply` takes it."""
    import yaml

    found, terms = asyncio.run(_current(tenant)) if number is None else (number, asyncio.run(_version(tenant, number)))
    click.echo(f"# {_called(tenant, found)}")
    click.echo(yaml.safe_dump(terms.model_dump(mode="json"), sort_keys=False, allow_unicode=True), nl=False)


def _called(tenant: str, number: int) -> str:
    return f"{tenant}, version {number}" if number else f"{tenant} has no contract, the defaults hold"


def _read(file: Path) -> "Contract":
    from dataharvest.contracts import InvalidContract, read_contract

    try:
        return read_contract(file.read_bytes(), source=str(file))
    except InvalidContract as reason:
        click.echo(reason.message, err=True)
        raise click.exceptions.Exit(1) from reason


def _entity_of(file_name: str, entity: str | None) -> str:
    from dataharvest.entities import all_entities

    known = "|".join(map(re.escape, all_entities()))
    found = re.fullmatch(rf"(?P<entity>{known})(?:[_.].*)?", entity or file_name, re.DOTALL)
    if found and entity in (None, found["entity"]):
        return found["entity"]
    raise click.UsageError(f"{entity or file_name!r} names no entity; give --entity, one of {', '.join(all_entities())}.")


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while piece := stream.read(_PIECE_BYTES):
            yield piece


@asynccontextmanager
async def _contracts() -> "AsyncIterator[PostgresContracts]":
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.contracts import PostgresContracts
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.settings import load_settings

    url = load_settings().database_url.get_secret_value()
    database = Database(url, pool_size=1, application_name="dataharvest contract")
    try:
        await require_current_schema(database)
        yield PostgresContracts(database)
    finally:
        await database.close()


async def _current(tenant: str) -> "tuple[int, Contract]":
    async with _contracts() as contracts:
        return await contracts.current(tenant)


async def _version(tenant: str, number: int) -> "Contract":
    async with _contracts() as contracts:
        return await contracts.version(tenant, number)


async def _apply(tenant: str, new: "Contract") -> int:
    async with _contracts() as contracts:
        return await contracts.apply(tenant, new)


async def _changes(tenant: str, new: "Contract") -> tuple[int, list[str]]:
    from dataharvest.contracts import difference
    from dataharvest.errors import Rejected

    try:
        number, old = await _current(tenant)
    except Rejected as reason:
        # Stored by another version of the program; whatever it says gives way.
        return int(str(reason.details["version"])), [reason.message]
    return number, difference(old, new)
