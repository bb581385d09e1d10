"""What the web page reads; nothing of it changes anything."""

from typing import Protocol

from dataharvest.board import Board, BoardQuery
from dataharvest.deliveries import SetKey
from dataharvest.set_details import Leftovers, SetDetails


class StatusReader(Protocol):
    """Reads where deliveries and sets stand; each answer is of one moment.

    Every method raises Unavailable when the database is not there.
    """

    async def board(self, query: BoardQuery) -> Board:
        """Tenants by business dates."""

    async def details(self, key: SetKey) -> SetDetails | None:
        """All about one set; None when nothing of it has arrived or was due."""

    async def leftovers(self, *, limit: int) -> Leftovers:
        """Files that belong to no set, and dead letters: the newest of each."""

    async def pulse(self) -> str:
        """A text that is another one after anything was written; two equal ones mean that nothing has changed."""
