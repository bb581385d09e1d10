"""What a transformer is: a pure function from frames of a batch to values per client or portfolio."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal

import polars as pl

from dataharvest.errors import Misconfigured
from dataharvest.rules.carrying import declaration
from dataharvest.rules.needs import Rule, Work

Per = Literal["client", "portfolio"]
Reads = Mapping[str, tuple[str, ...]]
"""Frames that a function takes, by name, with their columns."""

AMOUNT = pl.Decimal(38, 4)
"""Type of money in every frame: exact."""
COUNT = pl.Int64()

Compute = Callable[..., pl.DataFrame]


@dataclass(frozen=True, kw_only=True)
class Transformer:
    """One file's worth of computation.

    ``compute`` gets each frame it reads as a keyword argument. The frames hold all that concerns the clients or
    portfolios of the batch and nothing else: their own rows (with keys and references), and the rows of the other
    entities that are linked to them. It returns a frame with ``reference`` and the columns named in ``values``: one
    row per client or portfolio of the batch, of the types declared. It must not depend on the order of rows.
    """

    name: str
    per: Per
    needs: frozenset[str]
    reads: Reads
    values: Mapping[str, pl.DataType]
    compute: Compute
    logic_version: int

    def __post_init__(self) -> None:
        """Raise Misconfigured for a value of a type that can't be read again from the text that it is stored as."""
        for name, kind in self.values.items():
            if not (kind.is_numeric() or kind == pl.String):
                raise Misconfigured(f"Transformer {self.name}: value {name!r} is a {kind}; it must be a number or a String.")

    def values_of(self, frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """What the function gives for a batch.

        Raises:
            TypeError: a value is of another type than declared: what was exact would not be any more, or could not be read again.
        """
        computed = self.compute(**frames)
        for name, declared in self.values.items():
            given = computed.schema[name]
            if not _fits(given, declared):
                raise TypeError(f"transformer {self.name} gives {name!r} as {given}, declared is {declared}")
        return computed

    @property
    def rule(self) -> Rule:
        """When it runs and what holds afterwards."""
        return Rule(name=self.name, needs=self.needs, provides=self.name, work=Work.TRANSFORM)

    @property
    def made_by(self) -> str:
        """The declaration in short: what another one has computed is not the same."""
        values = {name: str(kind) for name, kind in self.values.items()}
        return declaration(self.name, self.per, dict(self.reads), values, self.logic_version)


def _fits(given: pl.DataType, declared: pl.DataType) -> bool:
    # A column of nulls alone has a type of its own.
    if given in (declared, pl.Null()):
        return True
    if isinstance(declared, pl.Decimal):
        return isinstance(given, pl.Decimal) or given.is_integer()
    return given.is_integer() if declared.is_integer() else declared.is_float() and given.is_numeric()


def transformer(
    *,
    per: Per,
    reads: Reads,
    values: Mapping[str, pl.DataType],
    needs: Collection[str] = ("relation_established",),
    logic_version: int = 1,
) -> Callable[[Compute], Transformer]:
    """Declare a function as a transformer; it provides the fact that has the function's name.

    Raise ``logic_version`` when the function's results change; it is stored with every value.
    """

    def declare(compute: Compute) -> Transformer:
        return Transformer(
            name=compute.__name__,
            per=per,
            needs=frozenset(needs),
            reads=reads,
            values=values,
            compute=compute,
            logic_version=logic_version,
        )

    return declare
