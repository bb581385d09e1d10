"""Transform: a transformer's values for one batch, computed from whole frames, never record by record."""

import polars as pl

from dataharvest.failpoints import failpoint
from dataharvest.messages import Batch
from dataharvest.ports import LockedBatch, LockedSet, Work
from dataharvest.rules.money import money_column
from dataharvest.transformers import Transformer


async def transform(batch: Batch, transformer: Transformer, *, work: Work, within: LockedSet | None = None) -> bool:
    """Compute and store the batch's values; False when the version is cancelled or blocked."""
    async with work.open_batch(batch, within=within) as locked:
        if locked is None:
            return False
        if not locked.opened.computed:
            if "values" in locked.opened.carried:
                await locked.carry_values(transformer=transformer.name)
            else:
                await _compute(locked, transformer)
            # Whoever decides within the same transaction is not told of the batch first.
            provides = transformer.rule.provides if within else None
            await locked.mark_computed(made_by=transformer.made_by, is_done=True, provides=provides)
    return True


async def _compute(locked: LockedBatch, transformer: Transformer) -> None:
    frames = await locked.frames(transformer.reads, per=transformer.per)
    values = as_json(transformer.values_of(frames), tuple(transformer.values))
    failpoint("transform.computed")
    await locked.store_values(values, transformer=transformer.name, logic_version=transformer.logic_version)


def as_json(values: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """``reference`` and the named columns as one JSON column ``fields``; money as exact text."""
    return with_money_as_text(values).select("reference", fields=pl.struct(names).struct.json_encode())


def with_money_as_text(frame: pl.DataFrame) -> pl.DataFrame:
    """The same frame with every Decimal column as money text."""
    amounts = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Decimal)]
    return frame.with_columns(money_column(pl.col(name)).alias(name) for name in amounts)
