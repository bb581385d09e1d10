"""What is said of single files in the answer to why a set is not further."""

from collections.abc import Iterator

from dataharvest.rules.text import visible
from dataharvest.status import DeliveryStatus, SetStatus

_NAMED = 4
"""Files named one by one; more would be no sentence."""


def file_name(delivery: DeliveryStatus) -> str:
    """The object key, with nothing unseen in it."""
    return visible(delivery.file)


def in_one_sentence(*parts: str) -> str:
    """The first parts, and how many more there are."""
    hidden = len(parts) - _NAMED
    said = "; ".join(part.rstrip(".") for part in parts[:_NAMED])
    return f"{said}{f'; and {hidden} more' if hidden > 0 else ''}."


def what_it_does(delivery: DeliveryStatus) -> str:
    """How far a delivery in progress is, with the chunk that comes next."""
    if delivery.contract_trouble:
        return f"{file_name(delivery)} waits because its contract can't be read: {visible(delivery.contract_trouble)}"
    if delivery.state != "waiting" and delivery.dead_letter_count:
        what = f"{_dead_letters(delivery)} of {file_name(delivery)} was dead-lettered by rule {delivery.dead_letter_rule}"
        return f"{what} and discarded" if delivery.dead_letter_is_discarded else what
    return _chunks(delivery) if delivery.state in ("splitting", "sealed") else _otherwise(delivery)


def _otherwise(delivery: DeliveryStatus) -> str:
    name = file_name(delivery)
    match delivery.state:
        case "registered":
            return f"{name} has arrived and nobody reads it yet"
        case "waiting":
            message = visible(str((delivery.failure or {}).get("message", "no reason kept")))
            again = f", next try at {delivery.next_try_at:%H:%M:%S} UTC" if delivery.next_try_at else ""
            return f"{name} can't be read now: {message}{again}"
        case "judging" if delivery.failure:
            return f"{name} is stored; its judgement waits for the object: {visible(str(delivery.failure.get('message')))}"
    return f"{name} is stored; its sums and duplicates are being counted"


def _chunks(delivery: DeliveryStatus) -> str:
    name, chunk = file_name(delivery), delivery.first_missing_chunk
    stored = f"{delivery.stored_chunk_count:,} {'chunk is' if delivery.stored_chunk_count == 1 else 'chunks are'} stored"
    if delivery.chunk_count is None:
        return f"{name} is being read: {stored}{f', chunk {chunk} is next' if chunk is not None else ''}"
    missing = f", chunk {chunk} is the first that is missing" if chunk is not None else ""
    lost = f" and can't be read again: {visible(str(delivery.failure.get('message')))}" if delivery.failure else ""
    return f"{name}: {delivery.stored_chunk_count:,} of {delivery.chunk_count:,} chunks are stored{missing}{lost}"


def _dead_letters(delivery: DeliveryStatus) -> str:
    if delivery.dead_letter_index is None:
        return "the judgement"
    more = delivery.dead_letter_count - 1
    return f"chunk {delivery.dead_letter_index}{f' and {more:,} more' if more else ''}"


def what_broke(delivery: DeliveryStatus) -> str:
    """The first record in quarantine with its line and rule."""
    if not delivery.quarantined:
        return f"{delivery.open_quarantine:,} of {file_name(delivery)} are in quarantine"
    first = delivery.quarantined[0]
    column = f", column {visible(first.column)}" if first.column else ""
    more = delivery.open_quarantine - 1
    others = f" (and {more:,} more {'record' if more == 1 else 'records'} in quarantine)" if more else ""
    message = visible(first.message).rstrip(".")
    return f"{file_name(delivery)}, line {first.line:,}{column} breaks rule {first.rule}: {message}{others}"


def rejected(one: SetStatus) -> Iterator[DeliveryStatus]:
    """The newest rejected delivery of each missing entity."""
    newest = {each.entity: each for each in one.deliveries if each.state == "rejected"}
    for entity in one.missing_files:
        if entity in newest:
            yield newest[entity]


def absences(one: SetStatus) -> Iterator[str]:
    """What is missing, one part each: not arrived, or rejected and why."""
    refused = {each.entity: each for each in rejected(one)}
    for entity, key in one.missing_files.items():
        if entity not in refused:
            yield f"{visible(key)} has not arrived"
            continue
        failure = refused[entity].failure or {}
        place = "".join(f", {name} {visible(str(failure[name]))}" for name in ("line", "column") if failure.get(name))
        message = visible(str(failure.get("message", "no reason kept"))).rstrip(".")
        yield f"{file_name(refused[entity])}{place} was rejected by rule {failure.get('rule', 'none')}: {message}"
