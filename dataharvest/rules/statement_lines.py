"""The statement of a set as it is printed: every figure, and what should be known when reading them."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from dataharvest.rules.control_totals import figure_text
from dataharvest.rules.statement import COUNTS, OutboundFigures, Statement, ValueFigures


class Line(NamedTuple):
    """One figure of the statement."""

    step: str
    subject: str
    """Entity, transformer or outbound topic."""
    delivery_id: int | None
    what: str
    figure: Decimal | int | str

    @property
    def text(self) -> str:
        """The figure as it is printed."""
        return figure_text(self.figure)


def lines(statement: Statement) -> Iterator[Line]:
    """Every figure, in the order of the journey."""
    for entity, totals in sorted(statement.manifest.entities.items()) if statement.manifest else ():
        if totals.records is not None:
            yield Line("file", entity, None, "records", totals.records)
        if totals.sha256 is not None:
            yield Line("file", entity, None, "sha256", totals.sha256)
        yield from (Line("file", entity, None, f"sum of {name}", amount) for name, amount in sorted(totals.sums.items()))
    for one in statement.deliveries:
        for what, count in zip(COUNTS, one.ledger, strict=True):
            yield Line("chunks", one.entity, one.delivery_id, what, count)
    for one in statement.deliveries:
        yield Line("table", one.entity, one.delivery_id, "rows", one.row_count)
        yield Line("table", one.entity, one.delivery_id, "in quarantine", one.quarantine_count)
        yield from _sum_lines("table", one.entity, one.delivery_id, one.row_sums)
    yield from _value_lines(statement)
    yield from _outbound_lines(statement)


def notes(statement: Statement) -> list[str]:
    """What is not a difference but should be known when reading the statement."""
    is_there = statement.manifest or statement.manifest_trouble
    said = [] if is_there else ["there is no manifest: nothing says what the sender meant to send"]
    if statement.version is None:
        return [*said, "there is no set version yet: values and outbound messages come later"]
    if statement.version_state != "published":
        said.append(f"version {statement.version} is {statement.version_state}: what is not done yet is not compared")
    newest = {entity: one.delivery_id for entity, one in statement.newest.items()}
    for entity, delivery_id in sorted(statement.version_deliveries.items()):
        if newest.get(entity, delivery_id) != delivery_id:
            said.append(f"version {statement.version} has delivery {delivery_id} of {entity}, {newest[entity]} is newer")
    return said + list(_not_compared(statement))


def _not_compared(statement: Statement) -> Iterator[str]:
    if statement.is_other_edition:
        yield (
            f"version {statement.version} is to be made anew, for records were repaired or accepted, a computation was asked for "
            "or an upgrade asks for it: its links, values and messages are not compared with the rows"
        )
    is_published = statement.version_state == "published"
    if is_published and statement.relation and not statement.relation.is_done:
        yield f"links: version {statement.version} was published without them, so they are not compared"
    for name, one in _made(statement):
        if not one.is_done and is_published:
            yield f"{name}: version {statement.version} was published without it, so it is not compared"
        elif one.is_other_logic:
            yield f"{name}: made by another declaration than today's, so it is not compared with the rows"
        elif isinstance(one, OutboundFigures) and one.is_done and one.unlike is None and not statement.is_other_edition:
            yield f"{name}: it takes what another declaration than today's has made, so it is not compared with the rows"


def _made(statement: Statement) -> Iterator[tuple[str, ValueFigures | OutboundFigures]]:
    yield from ((value.transformer, value) for value in statement.values)
    yield from ((message.topic, message) for message in statement.outbound)


def _value_lines(statement: Statement) -> Iterator[Line]:
    if statement.relation:
        yield Line("values", "links", None, "number", statement.relation.link_count)
        yield from (
            Line("values", kind, None, "number", count) for kind, count in sorted(statement.relation.orphan_counts.items())
        )
    for value in statement.values:
        yield Line("values", value.transformer, None, "references", value.reference_count)
        yield from _sum_lines("values", value.transformer, None, value.sums)
        if value.from_rows:
            yield Line("values", value.transformer, None, "unlike the rows", value.from_rows.unlike.count)


def _outbound_lines(statement: Statement) -> Iterator[Line]:
    for message in statement.outbound:
        yield Line("outbound", message.topic, None, "messages", message.message_count)
        yield Line("outbound", message.topic, None, "withdrawn", message.withdrawn_count)
        yield Line("outbound", message.topic, None, "unsent", message.unsent_count)
        yield from _sum_lines("outbound", message.topic, None, message.sums)
        if message.unlike:
            yield Line("outbound", message.topic, None, "unlike rows and values", message.unlike.count)


def _sum_lines(step: str, subject: str, delivery_id: int | None, sums: Mapping[str, Decimal | int]) -> Iterator[Line]:
    for name, amount in sums.items():
        yield Line(step, subject, delivery_id, f"sum of {name}", amount)
