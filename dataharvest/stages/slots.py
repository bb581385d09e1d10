"""Slots: how many chunks one process stores at a time, tenants in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dataharvest.stages.tenant_line import TenantLine


class Slots:
    """Lets so many through at a time; those who wait are served tenant by tenant, however many a tenant has waiting.

    More transactions at once than there are cores store no more, and make everybody's shortest step wait for its turn.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._line = TenantLine()

    @asynccontextmanager
    async def slot(self, tenant: str) -> AsyncIterator[None]:
        """A slot for the length of the block."""
        await self._take(tenant)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, tenant: str) -> None:
        if self._free:
            self._free -= 1
            return
        turn = self._line.join(tenant)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # It was given the slot at the moment it was called off.
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        if not self._line.call_next():
            self._free += 1
