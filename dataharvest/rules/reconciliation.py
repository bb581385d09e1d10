"""The statement of a set from file to message: what each step holds, in counts and exact sums, and where two steps disagree.

The steps are: ``file`` (what the manifest says), ``chunks`` (the ledger), ``table`` (the rows, counted again), ``values``
(what the transformers stored) and ``outbound`` (the newest message of each client or portfolio).

What two steps must have in common:

* chunks: read = persisted + quarantined + duplicate + accepted, and the delivery's own figures are the sums of its chunks';
* table: as many rows, records in quarantine and records accepted as missing as the ledger says, and the sums that were noted
  when the delivery was complete;
* file: the manifest's control totals against the newest complete deliveries;
* values: one link for each row of portfolios that has an account and a client, as many orphans as rows without a counterpart, one
  value per client or linked portfolio, and each what the transformer gives for the rows as they are now, once it is done;
* outbound: as many as values, none unsent, equal sums of every amount that is passed on unchanged, and each message what rows and
  values give now, once it is published.

A step that is not reached yet is no difference.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from dataharvest.rules import control_totals
from dataharvest.rules.control_totals import Difference
from dataharvest.rules.statement import COUNTS, DeliveryFigures, OutboundFigures, RelationFigures, Statement, Unlike, ValueFigures


def differences(statement: Statement) -> list[Difference]:
    """Every two steps that disagree, in the order of the journey; empty when all is exact."""
    newest = {entity: one.totals for entity, one in statement.newest.items()}
    found = control_totals.differences(statement.manifest, newest) if statement.manifest else []
    if statement.manifest_trouble:
        text = {"expected": "known", "found": "not known", "note": statement.manifest_trouble}
        found.append(Difference(entity="manifest", what="what it says", **text))
    for one in statement.deliveries:
        found += _delivery_differences(one)
    if statement.relation and statement.relation.is_done:
        found += _relation_differences(statement.relation)
    for value in statement.values:
        if value.is_done:
            found += _value_differences(value)
    for message in statement.outbound:
        if message.is_done:
            found += _outbound_differences(message, statement)
    return found


def _delivery_differences(one: DeliveryFigures) -> Iterator[Difference]:
    accounted = sum(one.ledger[1:])
    if one.ledger.record_count != accounted:
        yield _difference(one.entity, "records accounted for in the ledger", one.ledger.record_count, accounted)
    for what, recorded, counted in zip(COUNTS, one.recorded, one.ledger, strict=True):
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


def _relation_differences(relation: RelationFigures) -> Iterator[Difference]:
    if relation.link_count != relation.expected_count:
        yield _difference("links", "number", relation.expected_count, relation.link_count)
    if relation.missing.count:
        yield _unlike("portfolios", "number without their link", relation.missing)
    for kind in sorted({*relation.expected_orphans, *relation.orphan_counts}):
        expected, found = (counts.get(kind, 0) for counts in (relation.expected_orphans, relation.orphan_counts))
        if found != expected:
            yield _difference(kind, "number", expected, found)


def _value_differences(value: ValueFigures) -> Iterator[Difference]:
    if value.expected_count not in (None, value.reference_count):
        yield _difference(value.transformer, "number of references", value.expected_count, value.reference_count)
    if not value.from_rows:
        return
    for name, amount in value.from_rows.sums.items():
        if value.sums[name] != amount:
            yield _difference(value.transformer, f"sum of {name} by the rows", amount, value.sums[name])
    if value.from_rows.unlike.count:
        yield _unlike(value.transformer, f"number of {value.per}s with values unlike the rows", value.from_rows.unlike)


def _outbound_differences(message: OutboundFigures, statement: Statement) -> Iterator[Difference]:
    if message.unsent_count:
        yield _difference(message.topic, "number of unsent messages", 0, message.unsent_count)
    if message.unlike and message.unlike.count:
        yield _unlike(message.topic, "number of messages unlike rows and values", message.unlike)
    if message.is_other_logic:
        return
    for value in statement.values:
        if value.transformer in message.takes and value.is_done:
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


def _difference(subject: str, what: str, expected: Decimal | int, found: Decimal | int) -> Difference:
    return Difference(entity=subject, what=what, expected=expected, found=found)


def _unlike(subject: str, what: str, unlike: Unlike) -> Difference:
    return Difference(entity=subject, what=what, expected=0, found=unlike.count, note=unlike.note)
