"""Pages from templates. Everything that comes from outside is text: escaped, and with nothing unseen in it."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from dataharvest.board import BoardQuery, BoardRow
from dataharvest.rules.text import orphans_text, visible

_TEMPLATES = Path(__file__).parent / "templates"


def page(name: str, content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """The template, filled."""
    return HTMLResponse(_ENVIRONMENT.get_template(name).render(content), status_code=status, headers=headers)


def _finalize(value: Any) -> Any:
    # Markup of the templates' own is a subclass of str and stays as it is.
    return visible(value) if type(value) is str else value


def local(moment: datetime, zone: str) -> str:
    """Date and time of day in a tenant's zone."""
    return f"{moment.astimezone(ZoneInfo(zone)):%d %b %Y, %H:%M:%S}"


def short(moment: datetime, zone: str) -> str:
    """Day, month and time of day in a tenant's zone."""
    return f"{moment.astimezone(ZoneInfo(zone)):%d %b %H:%M:%S}"


def clock(moment: datetime, zone: str) -> str:
    """Time of day in a tenant's zone."""
    return f"{moment.astimezone(ZoneInfo(zone)):%H:%M:%S}"


def long_day(day: date) -> str:
    """A date with its day of the week."""
    return f"{day:%A, %d %B %Y}"


def board_link(query: BoardQuery, **changes: Any) -> str:
    """Address of the board with these changes; what is as by default is left out."""
    wanted = query.model_copy(update={"page": 1, **changes})
    said = wanted.model_dump(mode="json", exclude_defaults=True)
    return f"/?{urlencode(said)}" if said else "/"


def set_link(tenant: str, day: date) -> str:
    """Address of a set's page."""
    return f"/sets/{quote(tenant, safe='')}/{day}"


def board_cells(row: BoardRow, days: Sequence[str]) -> Markup:
    """The cells of a row. Written by hand, as there are thousands on a page: a template takes ten times as long."""
    tenant, link = str(escape(visible(row.tenant))), str(escape(f"/sets/{quote(row.tenant, safe='')}/"))
    cells, last, opening, ending = [], None, "", ""
    for cell, day in zip(row.cells, days, strict=True):
        if cell is None:
            cells.append("<td></td>")
            continue
        if cell is not last:
            last, (opening, ending) = cell, _around(cell.state, cell.late)
        cells.append(f'{opening}{link}{day}" title="{tenant} {day}{ending}')
    # All that is put in here is escaped or our own.
    return Markup("".join(cells))


@cache
def _around(state: str, late: bool) -> tuple[str, str]:
    """What stands around a cell's address and name."""
    kind, said = (" late", ", late") if late else ("", "")
    return f'<td><a class="s-{state}{kind}" href="', f': {state}{said}"></a></td>'


def with_code(text: str) -> Markup:
    """A sentence of ours in which commands and names stand between backticks."""
    parts = [str(escape(visible(part))) for part in text.split("`")]
    return Markup("".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts)))


def size_text(size_bytes: int) -> str:
    """A length in bytes for people: 1,234 B, 56.7 MB."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**4)):
        if size_bytes >= factor:
            return f"{size_bytes / (factor if unit != 'kB' else 1000):,.1f} {unit}"
    return f"{size_bytes:,} B"


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_TEMPLATES),
    autoescape=True,
    finalize=_finalize,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "local": local,
    "clock": clock,
    "short": short,
    "long_day": long_day,
    "count": lambda n: f"{n:,}",
    "orphans": orphans_text,
    "size": size_text,
    "with_code": with_code,
}
_ENVIRONMENT.globals |= {"board_link": board_link, "set_link": set_link, "board_cells": board_cells}
