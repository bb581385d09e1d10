"""What several commands ask for in the same words, and the connections they are given."""

import getpass
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dataharvest.adapters.postgres.connection import Database

DAY = click.DateTime(["%Y-%m-%d", "%Y%m%d"])


def whoever_asks() -> str:
    """The name of the account that runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


class NotEmpty(click.ParamType):
    """Text with something in it."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text without blanks around it."""
        text = str(value).strip()
        if not text or "\0" in text:
            self.fail("may not be empty", param, ctx)
        return text


class TenantName(NotEmpty):
    """A name that a tenant can have."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        from dataharvest.errors import Rejected
        from dataharvest.rules.keys import tenant_of

        name = super().convert(value, param, ctx)
        try:
            return tenant_of(f"{name}/")
        except Rejected:
            self.fail(f"no tenant can be called {name!r}: 1 to 64 of the characters A-Z a-z 0-9 _ . -", param, ctx)


class Known(click.ParamType):
    """One of the names there are, which are looked up when one is given: `--help` need not know them."""

    name = "name"

    def __init__(self, what: str, names: Callable[[], Iterable[str]]) -> None:
        self._what = what
        self.names = names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        names = list(self.names())
        if value not in names:
            self.fail(f"no {self._what} is called {value!r}; there are {', '.join(names)}", param, ctx)
        return str(value)


def _entities() -> Iterable[str]:
    from dataharvest.entities import all_entities

    return all_entities()


def _record_rules() -> Iterable[str]:
    from dataharvest.rules.record_rules import RECORD_RULES

    return RECORD_RULES


def _transformers() -> Iterable[str]:
    from dataharvest.transformers import all_transformers

    return all_transformers()


def _consumed() -> Iterable[str]:
    from dataharvest.replaying.requests import REPLAYABLE

    return REPLAYABLE


def _stages() -> Iterable[str]:
    from dataharvest.pipeline import STAGES

    return STAGES


CONSUMED_TOPIC = Known("topic of the workers", _consumed)
ENTITY = Known("kind of file", _entities)
RECORD_RULE = Known("rule of a record", _record_rules)
STAGE = Known("stage", _stages)
TRANSFORMER = Known("transformer", _transformers)

by_option = click.option(
    "--by", "by", type=NotEmpty(), default=whoever_asks, show_default="the account", help="Who does it; kept in the history."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
plan_option = click.option("--plan", "is_plan", is_flag=True, help="Say what would happen and change nothing.")


def quiet_libraries() -> None:
    """Leave it to the command to say what is wrong: the clients of Kafka and PostgreSQL would fill the screen meanwhile."""
    for name in ("aiokafka", "asyncpg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@asynccontextmanager
async def opened_database(*, name: str, pool_size: int = 2) -> "AsyncIterator[Database]":
    """The database of the settings, with the schema this version needs."""
    from dataharvest.adapters.postgres.connection import Database
    from dataharvest.adapters.postgres.schema import require_current_schema
    from dataharvest.settings import load_settings

    quiet_libraries()
    url = load_settings().database_url.get_secret_value()
    database = Database(url, pool_size=pool_size, application_name=f"dataharvest {name}")
    try:
        await require_current_schema(database)
        yield database
    finally:
        await database.close()
