"""`dataharvest sweep`: look once for what was missed."""

import asyncio

import click


@click.command()
@click.option("--once", is_flag=True, required=True, help="Look once and say what was found; workers sweep by themselves.")
def sweep(once: bool) -> None:
    """Find uploads whose event was lost and effects that were never sent, and give the hint again."""
    del once
    found = asyncio.run(_sweep())
    click.echo(", ".join(f"{kind}: {count}" for kind, count in found.items()) or "another sweep is under way")


async def _sweep() -> dict[str, int]:
    from dataharvest.services import connect
    from dataharvest.settings import load_settings

    connected = connect(load_settings(), role="sweep")
    try:
        return dict(await connected.services.sweep.once())
    finally:
        await connected.close()
