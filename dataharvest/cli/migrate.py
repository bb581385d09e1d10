"""`dataharvest migrate`: bring the database schema to this version's."""

import asyncio

import click


@click.command()
def migrate() -> None:
    """Create or upgrade the database schema; running it again changes nothing."""
    from dataharvest.adapters.postgres.schema import migrate as migrate_schema
    from dataharvest.settings import load_settings

    before, after = asyncio.run(migrate_schema(load_settings().database_url.get_secret_value()))
    click.echo(f"schema at {after}" if before == after else f"schema upgraded from {before or 'nothing'} to {after}")
