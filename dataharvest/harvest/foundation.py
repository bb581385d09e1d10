"""What a harvest stands on: services that run, the schema, the topics."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import ValidationError

from dataharvest.settings import Settings, load_settings


@dataclass(frozen=True, kw_only=True)
class Foundation:
    """Services that are there and prepared."""

    settings: Settings
    is_embedded: bool
    """Whether they are the stack that `dataharvest stack down` stops."""


def lay_foundation(tell: Callable[[str], None]) -> Foundation:
    """Start the embedded stack, unless the environment names services; bring schema and topics up to date.

    Raises:
        Misconfigured: something is missing, or the schema or a topic cannot be brought up to date.
        Unavailable: a service does not answer.
    """
    is_embedded = not _names_own_services()
    if is_embedded:
        from dataharvest.stack import Stack

        Stack().up()
    else:
        tell("using the services that the environment names; their schema and topics are brought up to date")
    settings = load_settings()
    asyncio.run(_prepare(settings))
    return Foundation(settings=settings, is_embedded=is_embedded)


def _names_own_services() -> bool:
    try:
        Settings(_env_file=None)
    except ValidationError:
        return False
    return True


async def _prepare(settings: Settings) -> None:
    # The two have nothing to do with each other.
    await asyncio.gather(_migrate(settings.database_url.get_secret_value()), _apply_topics(settings.broker))


async def _migrate(url: str) -> None:
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import migrate, require_current_schema
    from dataharvest.errors import Misconfigured

    database = Database(url, pool_size=1, application_name="dataharvest harvest")
    try:
        await require_current_schema(database)
    except Misconfigured:
        # Too old, or from a newer version: migrating tells the two apart.
        await migrate(url)
    finally:
        await database.close()


async def _apply_topics(broker: str) -> None:
    from dataharvest.adapters.kafka_admin import apply, existing_topics
    from dataharvest.errors import Misconfigured
    from dataharvest.topics import difference, load_topics, verify

    changes = difference(load_topics().values(), await existing_topics(broker))
    if not changes:
        return
    await apply(broker, changes)
    if problems := verify(load_topics().values(), await existing_topics(broker)):
        raise Misconfigured("; ".join(problems))
