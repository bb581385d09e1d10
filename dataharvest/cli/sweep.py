"""`dataharvest sweep`: look once for what was missed."""

import asyncio

import click

from dataharvest.errors import Unavailable


@click.command()
@click.option("--once", is_flag=True, required=True, help="Look once and say what was found; workers sweep by themselves.")
def sweep(once: bool) -> None:
    """Find what was lost on the way or never sent, give the hint again, and say how much of each kind was found."""
    del once
    try:
        found = asyncio.run(_sweep())
    except Unavailable as outage:
        _show(outage.details.get("found"))
        raise
    if not found:
        click.echo("another sweep is under way")
    _show(found)


def _show(found: object) -> None:
    for kind, count in found.items() if isinstance(found, dict) else ():
        click.echo(f"{kind}: {count:,}")


async def _sweep() -> dict[str, int]:
    from dataharvest.logs import configure_logging
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    settings = load_settings()
    configure_logging(settings.log_format)
    connected = connect(settings, role="sweep")
    try:
        return await connected.services.sweep.once()
    finally:
        await connected.close()
