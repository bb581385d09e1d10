"""The pages; each is made from what the JSON API answers, and asked by htmx gives only the part that is live."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from dataharvest.board import LATE, NOT_PUBLISHED, BoardQuery
from dataharvest.rules.standing import State
from dataharvest.web.api import leftovers as read_leftovers
from dataharvest.web.api import read_board, read_set
from dataharvest.web.parts import Shared
from dataharvest.web.render import page

router = APIRouter(default_response_class=HTMLResponse)
_DAYS = (7, 14, 30, 60)


@router.get("/")
async def board(query: Annotated[BoardQuery, Query()], request: Request, parts: Shared) -> Response:
    """The board."""
    found = await read_board(query, parts)
    choices = {"": "all", NOT_PUBLISHED: "not published", LATE: "late", **{str(state): str(state) for state in State}}
    content = {"board": found, "states": list(State), "choices": choices, "day_choices": sorted({*_DAYS, query.days})}
    return page(_template("board", request), content)


@router.get("/sets/{tenant}/{business_date}")
async def one_set(tenant: str, business_date: date, request: Request, parts: Shared) -> Response:
    """One set."""
    found = await read_set(tenant, business_date, parts)
    return page(_template("set", request), {"details": found, "one": found.set, "zone": found.set.zone})


@router.get("/leftovers")
async def leftovers(request: Request, parts: Shared) -> Response:
    """Files of no set, and dead letters."""
    return page(_template("leftovers", request), {"left": await read_leftovers(parts)})


@router.get("/favicon.ico")
async def icon() -> Response:
    """Where browsers look that were told nothing."""
    return RedirectResponse("/static/icon.svg")


def _template(name: str, request: Request) -> str:
    return f"{name}_live.html" if request.headers.get("hx-request") else f"{name}.html"
