"""The statement of a set from file to message: what each step holds, in counts and exact sums, and where two steps disagree.

The steps are: ``file`` (what the manifest says), ``chunks`` (the ledger), ``table`` (the rows, counted again), ``values``
(what the transformers stored) and ``outbound`` (the newest message of each client or portfolio).

What two steps must have in common:

* chunks: read = persisted + quarantined + duplicate + accepted, and the delivery's own figures are the sums of its chunks';
* table: as many rows, records in quarantine and records accepted as missing as the ledger says, and the sums that were noted
  when the delivery was complete;
* file: the manifest's control totals against the newest complete deliveries;
* values: one link for each row of portfolios that has an account and a client, one value per client or linked portfolio, and each
  what the transformer gives for the rows as they are now, once it is done;
* outbound: as many as values, none unsent, and equal sums of every amount that is passed on unchanged, once it is published.

A step that is not reached yet is no difference.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from dataharvest.rules import control_totals
from dataharvest.rules.control_totals import Difference, figure_text
from dataharvest.rules.statement import DeliveryFigures, LinkFigures, OutboundFigures, Statement, ValueFigures

_LINKS = "links"
_COUNTS = ("read", "persisted", "quarantined", "duplicate", "accepted")


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
        for what, count in zip(_COUNTS, one.ledger, strict=True):
            yield Line("chunks", one.entity, one.delivery_id, what, count)
    for one in statement.deliveries:
        yield Line("table", one.entity, one.delivery_id, "rows", one.row_count)
        yield Line("table", one.entity, one.delivery_id, "in quarantine", one.quarantine_count)
        yield from _sum_lines("table", one.entity, one.delivery_id, one.row_sums)
    yield from _value_lines(statement)
    for message in statement.outbound:
        yield Line("outbound", message.topic, None, "messages", message.message_count)
        yield Line("outbound", message.topic, None, "withdrawn", message.withdrawn_count)
        yield Line("outbound", message.topic, None, "unsent", message.unsent_count)
        yield from _sum_lines("outbound", message.topic, None, message.sums)


def differences(statement: Statement) -> list[Difference]:
    """Every two steps that disagree, in the order of the journey; empty when all is exact."""
    newest = {entity: one.totals for entity, one in statement.newest.items()}
    found = control_totals.differences(statement.manifest, newest) if statement.manifest else []
    if statement.manifest_trouble:
        text = {"expected": "known", "found": "not known", "note": statement.manifest_trouble}
        found.append(Difference(entity="manifest", what="what it says", **text))
    for one in statement.deliveries:
        found += _delivery_differences(one)
    if statement.links and statement.links.is_done:
        found += _link_differences(statement.links)
    for value in statement.values:
        if value.is_done:
            found += _value_differences(value)
    for message in statement.outbound:
        if message.is_done:
            found += _outbound_differences(message, statement)
    return found


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
    if statement.has_changed_rows:
        yield (
            f"since version {statement.version} was made records were repaired or accepted, or a computation was asked for: "
            "its links, values and messages are not compared with the rows"
        )
    for value in statement.values:
        if value.is_other_logic:
            yield f"values of {value.transformer} were computed by other logic than today's: they are not compared with the rows"


def _value_lines(statement: Statement) -> Iterator[Line]:
    if statement.links:
        yield Line("values", _LINKS, None, "number", statement.links.link_count)
    for value in statement.values:
        yield Line("values", value.transformer, None, "references", value.reference_count)
        yield from _sum_lines("values", value.transformer, None, value.sums)
        if value.from_rows:
            yield Line("values", value.transformer, None, "unlike the rows", value.from_rows.differing_count)


def _delivery_differences(one: DeliveryFigures) -> Iterator[Difference]:
    accounted = sum(one.ledger[1:])
    if one.ledger.record_count != accounted:
        yield _difference(one.entity, "records accounted for in the ledger", one.ledger.record_count, accounted)
    for what, recorded, counted in zip(_COUNTS, one.recorded, one.ledger, strict=True):
        if recorded != counted:
            yield _difference(one.entity, f"records {what} by its chunks", recorded, counted)
    if one.row_count != one.ledger.persisted_count:
        yield _difference(one.entity, "number of rows", one.ledger.persisted_count, one.row_count)
    if one.quarantine_count != one.ledger.quarantined_count:
        yield _difference(one.entity, "number of records in quarantine", one.ledger.quarantined_count, one.quarantine_count)
    if one.accepted_count != one.ledger.accepted_count:
        yield _difference(one.entity, "number of records accepted as missing", one.ledger.accepted_count, one.accepted_count)
    for column, amount in (one.recorded_sums or {}).items():
        stored = one.row_sums.get(column, Decimal(0))
        if stored != amount:
            yield _difference(one.entity, f"sum of {column} in the table", amount, stored)


def _link_differences(links: LinkFigures) -> Iterator[Difference]:
    if links.link_count != links.expected_count:
        yield _difference(_LINKS, "number", links.expected_count, links.link_count)
    if links.missing_count:
        yield _difference(_LINKS, "number of portfolios without their link", 0, links.missing_count)


def _value_differences(value: ValueFigures) -> Iterator[Difference]:
    if value.expected_count not in (None, value.reference_count):
        yield _difference(value.transformer, "number of references", value.expected_count, value.reference_count)
    if not value.from_rows:
        return
    for name, amount in value.from_rows.sums.items():
        if value.sums[name] != amount:
            yield _difference(value.transformer, f"sum of {name} by the rows", amount, value.sums[name])
    if value.from_rows.differing_count:
        named = f"{value.per}s {', '.join(value.from_rows.sample)}"
        yield _difference(value.transformer, "number of values unlike the rows", 0, value.from_rows.differing_count, named)


def _outbound_differences(message: OutboundFigures, statement: Statement) -> Iterator[Difference]:
    if message.unsent_count:
        yield _difference(message.topic, "number of unsent messages", 0, message.unsent_count)
    for value in statement.values:
        if value.transformer in message.takes:
            if value.reference_count != message.message_count:
                what = f"number of messages for values of {value.transformer}"
                yield _difference(message.topic, what, value.reference_count, message.message_count)
            yield from _sums_differ(message, message.takes[value.transformer], value.sums, f"values of {value.transformer}")
    for entity, sums in message.copied_sums.items():
        yield from _sums_differ(message, tuple(sums), sums, f"rows of {entity}")


def _sums_differ(
    message: OutboundFigures, fields: tuple[str, ...], sums: Mapping[str, Decimal | int], source: str
) -> Iterator[Difference]:
    for name in fields:
        if name in sums and name in message.sums and sums[name] != message.sums[name]:
            yield _difference(message.topic, f"sum of {name} from {source}", sums[name], message.sums[name])


def _sum_lines(step: str, subject: str, delivery_id: int | None, sums: Mapping[str, Decimal | int]) -> Iterator[Line]:
    for name, amount in sums.items():
        yield Line(step, subject, delivery_id, f"sum of {name}", amount)


def _difference(subject: str, what: str, expected: Decimal | int, found: Decimal | int, note: str = "") -> Difference:
    return Difference(entity=subject, what=what, expected=expected, found=found, note=note)
