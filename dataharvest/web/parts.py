"""What the routes of one application share."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from dataharvest.measuring import Measuring
from dataharvest.objects import ObjectStore
from dataharvest.ports import Contracts, StatusReader
from dataharvest.web.pulse import Pulse
from dataharvest.web.shared_boards import SharedBoards


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The outside world of the page."""

    reader: StatusReader
    boards: SharedBoards
    objects: ObjectStore
    contracts: Contracts
    bucket: str
    pulse: Pulse
    measuring: Measuring
    max_content_bytes: int
    """Longest file that is accepted."""


def parts_of(request: Request) -> Parts:
    """The parts that the application was made with."""
    parts: Parts = request.app.state.parts
    return parts


Shared = Annotated[Parts, Depends(parts_of)]
