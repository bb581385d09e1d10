"""A line in which tenants are served one after the other, however many of a tenant stand in it."""

import asyncio
from collections import deque


class TenantLine:
    """Those who wait, tenants in the order in which they are served."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def join(self, tenant: str) -> asyncio.Future[None]:
        """Stand in line; done when called. Whoever gives up cancels it."""
        call = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(call)
        return call

    def call_next(self) -> bool:
        """Call the first who has not given up; whether there was one."""
        while self._waiting:
            tenant = next(iter(self._waiting))
            queue = self._waiting.pop(tenant)
            call = queue.popleft()
            if queue:
                # To the end of the line.
                self._waiting[tenant] = queue
            if not call.done():
                call.set_result(None)
                return True
        return False
