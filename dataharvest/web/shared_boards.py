"""One reading of a board for all who look at it, for as long as nothing is written."""

import asyncio
from collections import OrderedDict

from dataharvest.board import Board, BoardQuery
from dataharvest.ports import StatusReader

_KEPT = 16


class SharedBoards:
    """Boards by query; each is read again only after something was written, and by one request at a time."""

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self._kept: OrderedDict[BoardQuery, tuple[str, Board]] = OrderedDict()
        self._reading = asyncio.Lock()

    async def read(self, query: BoardQuery) -> Board:
        """The board as it is now."""
        async with self._reading:
            # Before the board: what is written in between is then read once more, rather than missed.
            beat = await self._reader.pulse()
            known = self._kept.get(query)
            if known is None or known[0] != beat:
                known = beat, await self._reader.board(query)
            self._kept[query] = known
            self._kept.move_to_end(query)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return known[1]
