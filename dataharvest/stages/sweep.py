"""Sweep: finds what a lost event or a crash between two steps has left behind, and gives the hint again."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from dataharvest import metrics
from dataharvest.errors import Rejected, Unavailable
from dataharvest.stages.sweep_deliveries import SweptDeliveries
from dataharvest.stages.sweep_effects import SweptSets
from dataharvest.sweeping import SweepState

logger = logging.getLogger(__name__)

Repair = Callable[[], Awaitable[int]]
"""Looks for one kind of trouble, repairs it, and returns how often; doing it twice changes nothing."""


@dataclass
class Sweep:
    """Looks for everything that may be stuck, one kind after the other; whatever it gives again is idempotent."""

    state: SweepState
    repairs: Mapping[str, Repair]
    """By the name of what they find."""

    async def once(self) -> Counter[str]:
        """Look once; returns how much of each kind was repaired. Nothing happens while somebody else sweeps.

        Raises:
            Unavailable: a service was not there for some kinds, the others were looked at all the same; ``found`` among its
                details is how much of each.
        """
        found: Counter[str] = Counter()
        outages: dict[str, Unavailable] = {}
        async with self.state.turn() as mine:
            if mine:
                await self._look(found, outages)
        if found.total():
            logger.warning("sweep found work", extra={kind.replace(" ", "_"): count for kind, count in found.items() if count})
        if outages:
            reason = next(iter(outages.values()))
            raise Unavailable(f"the sweep could not look for {', '.join(outages)}: {reason}", found=found) from reason
        return found

    async def _look(self, found: Counter[str], outages: dict[str, Unavailable]) -> None:
        for kind, repair in self.repairs.items():
            try:
                found[kind] = await repair()
                metrics.SWEEP_FOUND.labels(kind).inc(found[kind])
            except Unavailable as outage:
                # Of one service perhaps; what needs only the others is repaired all the same.
                outages[kind] = outage
            except Rejected as reason:
                logger.error("sweep met what it can't take", extra={"kind": kind, "rule": reason.rule, "reason": reason.message})


def full_sweep(deliveries: SweptDeliveries, sets: SweptSets, *, state: SweepState) -> Sweep:
    """The sweep that looks for everything, in the order of the journey; what takes long or needs S3 comes last."""
    return Sweep(
        state,
        {
            "deliveries nobody reads": deliveries.unread_deliveries,
            "unsent announcements": deliveries.unsent_announcements,
            "untold manifests": deliveries.untold_manifests,
            "deliveries to be concluded": deliveries.untold_deliveries,
            "unsent judgements": sets.unsent_judgements,
            "remains of judgements": sets.remains_of_judgements,
            "sets to be decided": sets.undecided_sets,
            "unsent readiness": sets.unsent_readiness,
            "unsent batches": sets.unsent_batches,
            "batches without values": sets.batches_without_values,
            "rules to be concluded": sets.untold_rules,
            "unsent outbound messages": sets.unsent_outbound,
            "deliveries with rows to remove": sets.unneeded_rows,
            "late sets": sets.late_sets,
            "missing chunks": deliveries.missing_chunks,
            "objects without a delivery": deliveries.objects_without_delivery,
            "unsent notifications": sets.unsent_notifications,
        },
    )
