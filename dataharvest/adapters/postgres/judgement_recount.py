"""What copies leave of a delivery, counted in the table: it has to be what was reckoned while they were removed."""

from collections.abc import Mapping
from decimal import Decimal

from dataharvest.adapters.postgres.judgement_copies import CopyQueries
from dataharvest.adapters.postgres.judgement_decision import Counted
from dataharvest.adapters.postgres.judgement_slices import Slices
from dataharvest.adapters.postgres.sums import exact_sums, sums_query
from dataharvest.rules.tiling import ConservationBroken


class Recount:
    """Counts what is left of a delivery, at once or in slices, so that no removal of a wrong row passes."""

    def __init__(self, run: CopyQueries, slices: Slices, *, is_sliced: bool) -> None:
        self._run = run
        self._slices = slices
        self._is_sliced = is_sliced

    async def count_next(self, left: Counted) -> Counted | None:
        """What is there of the rows of which so many are to be ``left``; None while some have still to be counted.

        Raises:
            ConservationBroken: other rows are there.
        """
        if not self._is_sliced:
            return await self._at_once(left)
        if not await self._slices.recount_next(left):
            return None
        merged = await self._slices.merged()
        found = None if merged is None else Counted.in_slices(merged)
        # Whatever slices say, for somebody may have lost some of them: one pass over all rows has the last word.
        return found if found is not None and _difference(found, left) is None else await self._at_once(left)

    async def _at_once(self, left: Counted) -> Counted:
        row = await self._run.connection.fetchrow(sums_query(self._run.entity), self._run.delivery_id)
        found = Counted.at_once(row)
        if (difference := _difference(found, left)) is not None:
            raise ConservationBroken(difference)
        return found


def _difference(found: Counted, left: Counted) -> str | None:
    """What is otherwise than it ought to be."""
    if found.count != left.count:
        return f"{found.count} rows are there, {left.count} are to be left without copies"
    there, reckoned = exact_sums(found.sums), exact_sums(left.sums)
    if there != reckoned:
        return f"the rows that are left add up to {_named(there)}, not to {_named(reckoned)}"
    return None


def _named(sums: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{name} {total}" for name, total in sums.items())
