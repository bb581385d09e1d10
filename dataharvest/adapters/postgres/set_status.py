"""A set's status, put together from the rows that are stored of it."""

from collections.abc import Collection
from datetime import date, datetime

from dataharvest.adapters.postgres.status_parts import Parts
from dataharvest.adapters.postgres.status_rows import Row, SetRows, fields_of
from dataharvest.contracts import DEFAULT, Contract
from dataharvest.rules.estimates import estimated_end
from dataharvest.rules.needs import Rule
from dataharvest.rules.standing import Standing, State
from dataharvest.rules.versions import IN_PROGRESS, newest_complete
from dataharvest.status import Counts, DeliveryStatus, ManifestStatus, RuleStatus, SetStatus
from dataharvest.why import why
from dataharvest.why_batches import lost_batches


def set_status(
    rows: SetRows, parts: Parts, *, required: Collection[str], rules: Collection[Rule], at: datetime, worker_count: int | None
) -> SetStatus:
    """Where the set stands at that moment; ``required`` and ``rules`` as for `SetRows.standing`."""
    stands = rows.standing(required=required, rules=rules)
    deliveries = [delivery_status(row, parts, contract_trouble=rows.contract_trouble(row)) for row in rows.deliveries]
    newest = {one.delivery_id for one in newest_complete(rows.view().deliveries).values()}
    current = rows.versions[-1] if rows.versions else None
    identity = current["set_version_id"] if current else 0
    contract = rows.contract or DEFAULT
    counting = [one for one in deliveries if one.delivery_id in _counting(rows)]
    missing = _missing_entities(rows, contract.required if rows.contract else required)
    found = SetStatus(
        tenant=rows.key.tenant,
        business_date=rows.key.business_date,
        state=stands.state,
        version=stands.version,
        published_at=current["published_at"] if current else None,
        waits_for=list(stands.waits_for),
        reason=_reason(stands, parts.rules.get(identity, [])),
        cause=stands.cause,
        counts=sum((one.counts for one in deliveries if one.delivery_id in newest), Counts()),
        warnings=[*parts.warnings.get(identity, []), *parts.dropped.get(rows.key, []), *rows.tolerated(), *rows.lateness()],
        orphans=parts.orphans.get(identity, []),
        rules=parts.rules.get(identity, []),
        deliveries=deliveries,
        problem=rows.problem,
        late_at=rows.late_at,
        manifests=[ManifestStatus(file=row["object_key"], **fields_of(ManifestStatus, row)) for row in rows.manifests],
        missing_files={entity: _key_of(entity, rows, contract) for entity in missing},
        pause_reason=next((row["pause_reason"] for row in rows.deliveries), None),
        stored_chunk_count=sum(one.stored_chunk_count for one in counting),
        chunk_count=_total([one.chunk_count for one in counting]),
        eta_at=_eta(rows, parts, stands, at=at),
        due_at=contract.due_at(rows.key.business_date),
        zone=contract.cutoff.zone if contract.cutoff else "UTC",
    )
    return found.model_copy(update={"why": why(found, worker_count=worker_count)})


def _reason(stands: Standing, rules: Collection[RuleStatus]) -> str:
    lost = "; ".join(lost_batches(one) for one in rules if one.dead_letter_count)
    goes_on = stands.state in (State.READY, State.TRANSFORMING, State.PUBLISHING)
    return f"{stands.reason.rstrip('.')}; {lost}, nothing but a replay sends that again." if lost and goes_on else stands.reason


def delivery_status(row: Row, parts: Parts, *, contract_trouble: str | None = None) -> DeliveryStatus:
    """What is said of one delivery."""
    missing = parts.missing_chunks.get(row["delivery_id"])
    counts = {name: row[f"{name}_count"] for name in Counts.model_fields if name != "read"}
    return DeliveryStatus(
        file=row["object_key"],
        counts=Counts(read=row["record_count"], **counts),
        quarantined=parts.quarantined.get(row["delivery_id"], []),
        duplicates=parts.duplicates.get(row["delivery_id"], []),
        first_missing_chunk=None if missing == row["chunk_count"] else missing,
        contract_trouble=contract_trouble,
        **fields_of(DeliveryStatus, row),
    )


def _counting(rows: SetRows) -> set[int]:
    """Ids of the newest delivery of each entity that is stored or on its way."""
    going = [one for one in rows.view().deliveries if one.state == "complete" or one.state in IN_PROGRESS]
    return set({one.entity: one.delivery_id for one in sorted(going, key=lambda one: one.order)}.values())


def _missing_entities(rows: SetRows, required: Collection[str]) -> list[str]:
    going = {row["entity"] for row in rows.deliveries if row["state"] == "complete" or row["state"] in IN_PROGRESS}
    return sorted(set(required) - going)


def _key_of(entity: str, rows: SetRows, contract: Contract) -> str:
    return f"{rows.key.tenant}/{entity}_{_written(rows.key.business_date, contract.date_in_key)}.csv"


def _written(day: date, form: str) -> str:
    return form.replace("YYYY", f"{day:%Y}").replace("MM", f"{day:%m}").replace("DD", f"{day:%d}")


def _total(counts: Collection[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if counts and len(known) == len(counts) else None


def _eta(rows: SetRows, parts: Parts, stands: Standing, *, at: datetime) -> datetime | None:
    """When the step in hand is done: the slowest delivery stored, or the rules planned so far computed or sent."""
    if stands.state is State.LOADING:
        ends = [_stored_at(row, at=at) for row in rows.deliveries if row["state"] in IN_PROGRESS and row["state"] != "judging"]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None
    if stands.state not in (State.TRANSFORMING, State.PUBLISHING):
        return None
    identity = rows.versions[-1]["set_version_id"]
    open_rules = [one for one in parts.rules.get(identity, []) if one.done < one.batch_count]
    return _worked_at(open_rules, since=parts.rules_since.get(identity), at=at)


def _stored_at(row: Row, *, at: datetime) -> datetime | None:
    # A compressed file's size says little about how many chunks will come of it.
    told = row["object_key"].lower().endswith(".csv")
    total = row["chunk_count"] or (-(-row["size_bytes"] // row["chunk_bytes"]) if told else None)
    return estimated_end(done=row["stored_chunk_count"], total=total, since=row["first_chunk_at"], now=at)


def _worked_at(rules: list[RuleStatus], *, since: datetime | None, at: datetime) -> datetime | None:
    done, total = sum(one.done for one in rules), sum(one.batch_count for one in rules)
    return estimated_end(done=done, total=total, since=since, now=at)
