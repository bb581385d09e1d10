"""The JSON API: everything that the pages show."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from dataharvest.board import FILTERS, Board, BoardQuery
from dataharvest.deliveries import SetKey
from dataharvest.errors import Rejected
from dataharvest.set_details import Leftovers, SetDetails
from dataharvest.web.parts import Parts, Shared
from dataharvest.web.pulse import OUTAGE

router = APIRouter(prefix="/api")
_LEFTOVERS_SHOWN = 100


class Failure(BaseModel):
    """Why a request was not answered."""

    message: str
    """One sentence."""
    rule: str | None = None
    """Stable name of the rule that was broken."""


@router.get("/board", summary="Tenants by business dates, totals, and the sets that wait for somebody")
async def board(query: Annotated[BoardQuery, Query()], parts: Shared) -> Board:
    """The board; answers 422 for a state that does not exist and 503 while the database is not there."""
    return await read_board(query, parts)


@router.get("/sets/{tenant}/{business_date}", responses={404: {"model": Failure}}, summary="All about one set")
async def one_set(tenant: str, business_date: date, parts: Shared) -> SetDetails:
    """The set with its stages, deliveries, versions, facts, values, quarantine, dead letters and timeline."""
    return await read_set(tenant, business_date, parts)


@router.get("/leftovers", summary="Files that belong to no set, and dead letters")
async def leftovers(parts: Shared) -> Leftovers:
    """The newest of each."""
    return await parts.reader.leftovers(limit=_LEFTOVERS_SHOWN)


@router.get("/events", response_class=EventSourceResponse, summary="Server-sent events: one whenever something was written")
async def events(parts: Shared) -> AsyncIterator[ServerSentEvent]:
    """Events `changed`, the first at once; `outage` while the database is not there. Read again what you show."""
    async for beat in parts.pulse.beats():
        yield ServerSentEvent(event=OUTAGE if beat == OUTAGE else "changed", data=beat)


@router.get("/health", responses={503: {"model": Failure}}, summary="Whether the page can read")
async def health(parts: Shared) -> dict[str, str]:
    """``{"status": "ok"}``, or 503 while the database is not there."""
    await parts.reader.pulse()
    return {"status": "ok"}


async def read_board(query: BoardQuery, parts: Parts) -> Board:
    """The board; Rejected when it is to be narrowed to a state that does not exist."""
    if query.state and query.state not in FILTERS:
        raise Rejected(f"there is no state {query.state!r}, only {', '.join(sorted(FILTERS))}", rule="unknown_state")
    return await parts.boards.read(query)


async def read_set(tenant: str, business_date: date, parts: Parts) -> SetDetails:
    """The set, or a 404."""
    found = await parts.reader.details(SetKey(tenant, business_date))
    if found is None:
        raise HTTPException(404, f"nothing of {tenant} for {business_date} has arrived or was due")
    return found
