"""Call webhooks: a loop beside the agents, so that nothing ever waits for a tenant's server."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dataharvest import metrics
from dataharvest.contracts import Webhook
from dataharvest.errors import Rejected
from dataharvest.notifications import Caller, WebhookCall, WebhookCalls
from dataharvest.ports import Contracts
from dataharvest.rules.notifying import GIVE_UP_AFTER_S, pause_after
from dataharvest.rules.signing import HEADER, signature, tenant_secret

logger = logging.getLogger(__name__)

_CALLS_AT_ONCE = 64
_HOLD_S = 60.0
_LOOK_AGAIN_S = 1.0
_NO_KEY_PAUSE_S = 300.0


@dataclass
class WebhookLoop:
    """Makes the calls that are due, one of a tenant at a time; whatever one does, the others go on."""

    calls: WebhookCalls
    contracts: Contracts
    caller: Caller
    key: str | None
    """The installation's key, which every tenant's secret follows from."""
    clock: Callable[[], float] = time.time
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def step(self) -> None:
        """Take what is due and wait until a call is done, or a moment has passed.

        Raises:
            Unavailable: PostgreSQL is not there; calls that were made and could not be noted are made again.
        """
        for one in await self.calls.claim(limit=_CALLS_AT_ONCE - len(self._running), hold_s=_HOLD_S):
            self._running.add(asyncio.create_task(self._call(one)))
        if not self._running:
            await asyncio.sleep(_LOOK_AGAIN_S)
            return
        done, self._running = await asyncio.wait(self._running, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    def abandon(self) -> None:
        """Leave the calls under way; they are made again once they are held no more."""
        for task in self._running:
            task.cancel()
        self._running = set()

    async def _call(self, one: WebhookCall) -> None:
        webhook = await self._webhook(one.tenant)
        if webhook is None:
            await self.calls.given_up(one.notification_id, reason="the tenant's contract has no webhook any more")
            return
        if self.key is None:
            logger.error("webhook not called, DATAHARVEST_WEBHOOK_KEY is not set", extra=_details(one))
            await self.calls.failed(one.notification_id, reason="no key to sign with", pause_s=_NO_KEY_PAUSE_S)
            return
        secret = tenant_secret(self.key, one.tenant, number=webhook.secret_number)
        headers = {"Content-Type": "application/json", HEADER: signature(one.payload, secret=secret, at_s=int(self.clock()))}
        await self._note(one, await self.caller.post(webhook.url, one.payload, headers=headers))

    async def _note(self, one: WebhookCall, failure: str | None) -> None:
        if failure is None:
            await self.calls.accepted(one.notification_id)
            metrics.WEBHOOK_CALLS.labels("accepted").inc()
        elif one.age_s >= GIVE_UP_AFTER_S:
            logger.error("webhook given up", extra={**_details(one), "reason": failure})
            await self.calls.given_up(one.notification_id, reason=failure)
            metrics.WEBHOOK_CALLS.labels("given_up").inc()
        else:
            pause_s = pause_after(one.attempt)
            logger.warning("webhook failed, retrying", extra={**_details(one), "reason": failure, "delay_s": pause_s})
            await self.calls.failed(one.notification_id, reason=failure, pause_s=pause_s)
            metrics.WEBHOOK_CALLS.labels("failed").inc()

    async def _webhook(self, tenant: str) -> Webhook | None:
        try:
            _, contract = await self.contracts.current(tenant)
        except Rejected:
            return None
        return contract.webhook


def _details(one: WebhookCall) -> dict[str, object]:
    return {"tenant": one.tenant, "notification_id": str(one.notification_id), "attempt": one.attempt}
