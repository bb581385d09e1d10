"""The board: tenants by business dates, each set with its state, and those that somebody has to look at."""

from datetime import date, datetime

from pydantic import Field, field_validator

from dataharvest.delivery_status import Report
from dataharvest.rules.standing import State
from dataharvest.status import Why

NOT_PUBLISHED, LATE = "not-published", "late"
"""Besides the states, what a board can be narrowed to."""
FILTERS = frozenset({NOT_PUBLISHED, LATE, *State})


class BoardQuery(Report):
    """What of the board is wanted."""

    tenant: str = Field(default="", max_length=64)
    """Part of a tenant's name, in any case; empty for all."""
    state: str = ""
    """A state, `not-published` or `late`: only tenants with such a set are shown; empty for all."""
    until: date | None = None
    """Newest business date shown; by default the newest there is."""
    days: int = Field(default=14, ge=1, le=92)
    """How many business dates are shown."""
    page: int = Field(default=1, ge=1)
    """Which page of tenants, from 1."""
    per_page: int = Field(default=50, ge=1, le=500)
    """Tenants on a page."""

    @field_validator("until", mode="before")
    @classmethod
    def _not_said(cls, value: object) -> object:
        # An empty field of a form.
        return None if value == "" else value


class Cell(Report):
    """One set on the board."""

    state: State
    version: int | None
    late: bool
    """It had no version at its cut-off."""


class BoardRow(Report):
    """One tenant."""

    tenant: str
    cells: list[Cell | None]
    """One for each date of the board, in its order; None where nothing has arrived or was due."""


class Attention(Report):
    """A set that somebody has to look at."""

    tenant: str
    business_date: date
    state: State
    late_at: datetime | None
    zone: str
    why: Why


class Board(Report):
    """Where everything stands, at one moment."""

    at: datetime
    """By the database's clock."""
    query: BoardQuery
    dates: list[date]
    """The newest first."""
    rows: list[BoardRow]
    """In order of the tenant's name."""
    totals: dict[State, int]
    """Sets by state, of all tenants that match by name, on these dates."""
    late_count: int
    """Sets among them that were late."""
    tenant_count: int
    """Tenants on all pages."""
    page_count: int
    attention: list[Attention]
    """The first of the sets that wait for somebody: blocked, disputed, late, held up or incomplete ones."""
    attention_count: int
    """How many there are in all."""
    worker_count: int
    """Workers connected to the database."""
    dead_letter_count: int
    """Of all tenants and times."""
