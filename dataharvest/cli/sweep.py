"""`dataharvest sweep`: look once for what was missed."""

import asyncio

import click


@click.command()
@click.option("--once", is_flag=True, required=True, help="Look once and say what was found; workers sweep by themselves.")
def sweep(once: bool) -> None:
    """Find what was lost on the way or never sent, give the hint again, and say how much of each kind was found."""
    del once
    found = asyncio.run(_sweep())
    if found is None:
        click.echo("another sweep is under way")
    else:
        for kind, count in found.items():
            click.echo(f"{kind}: {count:,}")


async def _sweep() -> dict[str, int] | None:
    from dataharvest.logs import configure_logging
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    settings = load_settings()
    configure_logging(settings.log_format)
    connected = connect(settings, role="sweep")
    try:
        return dict(await connected.services.sweep.once()) or None
    finally:
        await connected.close()
