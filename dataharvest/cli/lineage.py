"""`dataharvest lineage`: from an outbound message back to files, versions and line numbers."""

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import click

from dataharvest.rules.text import counted

if TYPE_CHECKING:
    from dataharvest.lineage import Lineage, SourceFile


@click.command()
@click.argument("message_id", type=click.UUID)
@click.option("--limit", type=click.IntRange(min=1, max=100_000), default=20, show_default=True, help="Records shown of a file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def lineage(context: click.Context, message_id: UUID, limit: int, as_json: bool) -> None:
    """Show the files, versions and lines that the outbound message MESSAGE_ID was made from.

    Exit 2 when no message has this id.
    """
    found = asyncio.run(_lineage(message_id, limit=limit))
    if found is None:
        click.echo(f"no outbound message has the id {message_id}", err=True)
        context.exit(2)
    click.echo(found.model_dump_json(indent=1) if as_json else "\n".join(_lines(found)))


async def _lineage(message_id: UUID, *, limit: int) -> "Lineage | None":
    from dataharvest.adapters.postgres.contracts import PostgresContracts
    from dataharvest.adapters.postgres.lineage import PostgresOrigins
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.services import connect
    from dataharvest.settings import load_settings
    from dataharvest.stages.trace_back import TraceBack

    connected = connect(load_settings(), role="lineage")
    try:
        await require_current_schema(connected.database)
        contracts = PostgresContracts(connected.database)
        trace = TraceBack(PostgresOrigins(connected.database), connected.services.objects, contracts.version)
        return await trace.lineage(message_id, limit=limit)
    finally:
        await connected.close()


def _lines(found: "Lineage") -> list[str]:
    sent = f"sent at {found.sent_at:%F %T} UTC" if found.sent_at else "not sent yet"
    lines = [
        f"{found.topic} {found.key}",
        f"  version {found.version} of {found.tenant} {found.business_date}, {sent}",
    ]
    if found.supersedes:
        lines.append(f"  supersedes {found.supersedes}")
    if found.withdrawn:
        lines.append("  withdrawn: the files of this version do not name it any more")
    for file in found.files:
        lines += _file_lines(file)
    return lines


def _file_lines(file: "SourceFile") -> list[str]:
    version = f", version {file.version_id}" if file.version_id else ""
    records = counted(file.record_count, "record")
    lines = [f"{file.file}{version}, delivery {file.delivery_id}: {records}"]
    if file.note:
        lines.append(f"  {file.note}")
    for one in file.records:
        place = f"line {one.line}" if one.line is not None else "line not known"
        lines.append(f"  {place}: {one.natural_key}")
    if file.record_count > len(file.records):
        lines.append(f"  and {file.record_count - len(file.records):,} more (--limit shows them)")
    return lines
