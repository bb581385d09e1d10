"""Fairness in one splitter: tenants send a chunk each in turn, and few chunks of a tenant are under way at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from dataharvest.stages.tenant_line import TenantLine
from dataharvest.stages.window import Limits, Window
from dataharvest.tenants import Tenants


class TenantPaused(Exception):
    """The tenant was paused; what was sent is persisted, the rest waits."""


class Turnstile:
    """Lets one chunk through at a time; those who wait are served tenant by tenant, however many a tenant has waiting."""

    def __init__(self) -> None:
        self._line = TenantLine()
        self._scheduled = False

    async def pass_through(self, tenant: str) -> None:
        """Wait for a turn of the tenant; it lasts until the caller waits for something again."""
        turn = self._line.join(tenant)
        self._schedule()
        await turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            # Behind whoever has the turn now: by then all who are ready to send stand in the queue.
            asyncio.get_running_loop().call_soon(self._let_one_through)

    def _let_one_through(self) -> None:
        self._scheduled = False
        if self._line.call_next():
            self._schedule()


@dataclass
class Fairness:
    """The tenants that this process splits for, each with its window."""

    tenants: Tenants
    limits: Limits
    turnstile: Turnstile = field(default_factory=Turnstile)
    paused: frozenset[str] = frozenset()
    """As the splitters' loop has seen it last."""
    _windows: dict[str, Window] = field(default_factory=dict)
    _users: dict[str, int] = field(default_factory=dict)

    async def look_for_pauses(self) -> None:
        """See who is paused now."""
        self.paused = await self.tenants.paused()

    def require_going(self, tenant: str) -> None:
        """Raise TenantPaused when nothing of the tenant may be sent."""
        if tenant in self.paused:
            raise TenantPaused

    @asynccontextmanager
    async def window(self, tenant: str) -> AsyncIterator[Window]:
        """The tenant's window, shared by all its deliveries that are split at the same time."""
        self._users[tenant] = self._users.get(tenant, 0) + 1
        try:
            if tenant not in self._windows:
                # Deliveries that were read to their end, here or by another splitter, may still have chunks under way.
                under_way = await self.tenants.in_flight(tenant)
                self._windows.setdefault(tenant, Window(tenant, self.tenants, limits=self.limits, under_way=under_way))
            yield self._windows[tenant]
        finally:
            self._users[tenant] -= 1
            if not self._users[tenant]:
                del self._users[tenant]
                self._windows.pop(tenant, None)
