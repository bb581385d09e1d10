"""Sweep: finds what a lost event or a crash between two steps has left behind, and gives the hint again."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from dataharvest import metrics
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
            Unavailable: a service is not there; what was repaired before stays repaired.
        """
        found: Counter[str] = Counter()
        async with self.state.turn() as mine:
            if not mine:
                return found
            for kind, repair in self.repairs.items():
                found[kind] = await repair()
                metrics.SWEEP_FOUND.labels(kind).inc(found[kind])
        if found.total():
            logger.warning("sweep found work", extra={kind.replace(" ", "_"): count for kind, count in found.items() if count})
        return found


def full_sweep(deliveries: SweptDeliveries, sets: SweptSets, *, state: SweepState) -> Sweep:
    """The sweep that looks for everything, in the order of the journey."""
    return Sweep(
        state,
        {
            "objects without a delivery": deliveries.objects_without_delivery,
            "lapsed leases": deliveries.lapsed_leases,
            "unsent announcements": deliveries.unsent_announcements,
            "untold manifests": deliveries.untold_manifests,
            "deliveries to be concluded": deliveries.untold_deliveries,
            "missing chunks": deliveries.missing_chunks,
            "unsent judgements": sets.unsent_judgements,
            "sets to be decided": sets.undecided_sets,
            "unsent readiness": sets.unsent_readiness,
            "unsent batches": sets.unsent_batches,
            "batches without values": sets.batches_without_values,
            "rules to be concluded": sets.untold_rules,
            "unsent outbound messages": sets.unsent_outbound,
            "deliveries with rows to remove": sets.unneeded_rows,
            "late sets": sets.late_sets,
            "unsent notifications": sets.unsent_notifications,
        },
    )
