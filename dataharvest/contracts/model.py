"""What a contract may say; the sentences below the fields are its documentation."""

from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from dataharvest.contracts.aliases import require_clear_aliases
from dataharvest.contracts.vocabulary import (
    WEEKDAYS,
    DateInKey,
    Days,
    Delimiter,
    DuplicateRule,
    DuplicatesByEntity,
    EncodingName,
    EntityNames,
    HeaderAliases,
    NotifiedEvents,
    OrphanKinds,
    TimeOfDay,
    WebhookUrl,
    Weekdays,
    ZoneName,
)
from dataharvest.entities import Column, Entity, all_entities


class Part(BaseModel):
    """Contracts and their parts: nothing unknown, nothing changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Calendar(Part):
    """On which business dates files come."""

    weekdays: Weekdays = ("mon", "tue", "wed", "thu", "fri")
    """Days of the week with files: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`."""
    holidays: Days = ()
    """Dates without files, as `YYYY-MM-DD`."""

    def has(self, day: date) -> bool:
        """Whether files are due for this business date."""
        return WEEKDAYS[day.weekday()] in self.weekdays and day not in self.holidays


class Cutoff(Part):
    """When a set must be complete."""

    time: TimeOfDay
    """Time of day, `HH:MM`."""
    zone: ZoneName
    """Time zone of `time`, an IANA name such as `Europe/Berlin`."""
    days_after: int = Field(default=0, ge=0, le=31)
    """Calendar days after the business date; 1 for files that come the next morning."""


class Webhook(Part):
    """Where the tenant is told what becomes of its sets."""

    url: WebhookUrl
    """Address that notifications are posted to; `http` only on the same machine."""
    events: NotifiedEvents = ("blocked", "late", "ready")
    """What is told: `ready`, `blocked`, `late`."""
    secret_number: int = Field(default=1, ge=1)
    """Another number makes another secret, where the old one has become known."""


class Contract(Part):
    """How one tenant's files are read and judged."""

    required: EntityNames = Field(
        default_factory=lambda: tuple(name for name, entity in sorted(all_entities().items()) if entity.required)
    )
    """Entities without which a set is not complete."""
    header_aliases: HeaderAliases = Field(default_factory=dict)
    """Header names that mean a column, by entity: `{accounts: {Kontonummer: account_number}}`. Case and blanks around a
    name do not count; a column's own name goes on to be understood."""
    delimiter: Delimiter = ","
    """The character between two fields."""
    encoding: EncodingName = "utf-8"
    """`utf-8`, `utf-16`, `iso-8859-1` (also called `latin-1`) or `windows-1252`. Lines, offsets and hashes of content refer to
    the text as UTF-8."""
    decimal_mark: Literal[".", ","] = "."
    """Mark before the decimals of an amount. Thousands are never parted. Where fields are parted by commas too, an amount with
    a decimal comma must be in quotes."""
    date_in_key: DateInKey = "YYYYMMDD"
    """How the object key writes the business date: YYYY, MM and DD in any order, parted by the same `-`, `_`, `.` or nothing."""
    quarantine_threshold: int = Field(default=0, ge=0)
    """Records of one delivery that may be in quarantine, neither repaired nor accepted, without blocking the set."""
    duplicates: DuplicateRule = "reject"
    """What becomes of records of one delivery with the same natural key: `reject` quarantines every one of them,
    `first_wins` and `last_wins` keep one and count the others as duplicates."""
    duplicates_by_entity: DuplicatesByEntity = Field(default_factory=dict)
    """The same for single entities: `{transactions: last_wins}`."""
    orphans_block: OrphanKinds = (
        "portfolios without a client",
        "portfolios without an account",
        "transactions without an account",
    )
    """Kinds of orphan that block a set: `transactions without an account`, `portfolios without an account`,
    `portfolios without a client`, `accounts without a portfolio`. The others are only reported."""
    mixed_currency: Literal["sum", "block"] = "sum"
    """A client with accounts in several currencies: `sum` adds their amounts up as they are and warns, `block` blocks the set."""
    manifest: Literal["none", "optional", "required"] = "optional"
    """Whether control totals come: `none` ignores manifests, `optional` compares when one is there, `required` waits for it."""
    cutoff: Cutoff | None = None
    """When a set that is not complete is marked late; null for never."""
    calendar: Calendar = Calendar()
    """Business dates that the cut-off holds for."""
    webhook: Webhook | None = None
    """Where the tenant is told that a set is ready, blocked or late; null for nowhere."""

    @field_validator("header_aliases")
    @classmethod
    def _clear(cls, aliases: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        return require_clear_aliases(aliases)

    def entity(self, name: str) -> Entity:
        """The entity as this tenant's headers name its columns.

        Raises:
            KeyError: no entity has this name.
        """
        entity = all_entities()[name]
        return replace(entity, columns=tuple(self._with_aliases(column, entity=name) for column in entity.columns))

    def _with_aliases(self, column: Column, *, entity: str) -> Column:
        added = (alias.strip() for alias, meant in self.header_aliases.get(entity, {}).items() if meant == column.name)
        return replace(column, aliases=(*column.aliases, *added))

    def duplicate_rule(self, entity: str) -> DuplicateRule:
        """What becomes of an entity's duplicates."""
        return self.duplicates_by_entity.get(entity, self.duplicates)

    def due_at(self, business_date: date) -> datetime | None:
        """When the set of a business date must be complete; None when the contract does not say, or expects no files."""
        if self.cutoff is None or not self.calendar.has(business_date):
            return None
        day = business_date + timedelta(days=self.cutoff.days_after)
        return datetime.combine(day, time.fromisoformat(self.cutoff.time), ZoneInfo(self.cutoff.zone))


DEFAULT = Contract()
"""What holds for a tenant without a contract."""
