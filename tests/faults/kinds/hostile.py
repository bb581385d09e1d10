"""F12: the hostile corpus on the real services; each file ends as it should, and nothing else is touched."""

import asyncio
import json
import time
from collections import Counter
from functools import partial

from tests.faults.journal import Fault
from tests.faults.kinds.model import Kind, Scale, times
from tests.faults.trial import Trial
from tests.hostile import Hostile, corpus
from tests.kills.world import NotInTime, eventually

ENDED = ("complete", "rejected")
ENDED_S = 240.0
_FOUND = """
    SELECT d.state, d.failure->>'rule' AS rule, d.persisted_count,
           (SELECT coalesce(jsonb_object_agg(q.rule, q.n), '{}')::text AS quarantined
            FROM (SELECT rule, sum(record_count) AS n FROM quarantine WHERE delivery_id = d.delivery_id GROUP BY rule) q)
    FROM delivery d WHERE d.tenant = $1
"""


async def hostile(trial: Trial, count: int, scale: Scale) -> None:
    """So many files of the corpus at once, each from a tenant of its own, beside a good load."""
    await trial.staff(1)
    files = [one for one in corpus() if not one.is_long]
    chosen = files if count >= len(files) else trial.chance.sample(files, count)
    await asyncio.to_thread(partial(_put, trial, chosen))
    await trial.feed(scale.row_count // 4)
    started = time.monotonic()
    for number, one in enumerate(chosen):
        entry = trial.journal.plan("F12", f"{one.name}: {one.why}", is_counted=False)
        await _judge(trial, entry, one, tenant=_tenant(trial, number), since=started)


def _tenant(trial: Trial, number: int) -> str:
    return f"{trial.name}-hostile-{number}"


def _put(trial: Trial, chosen: list[Hostile]) -> None:
    client, bucket = trial.world.s3(), trial.world.environment["DATAHARVEST_S3_BUCKET"]
    for number, one in enumerate(chosen):
        key = f"{_tenant(trial, number)}/{one.entity}_20261123{one.endings}"
        client.put_object(Bucket=bucket, Key=key, Body=b"".join(one.pieces()))
    client.close()


async def _judge(trial: Trial, entry: Fault, one: Hostile, *, tenant: str, since: float) -> None:
    witness = trial.world.witness

    async def has_ended() -> bool:
        rows = await witness.ledger.fetch(_FOUND, tenant)
        return bool(rows) and rows[0]["state"] in ENDED

    try:
        await eventually(has_ended, what=f"{one.name} at its end", within_s=ENDED_S)
    except NotInTime as late:
        witness.violations.unready.add(str(late))
        return
    entry.has_happened, entry.recovery_s = True, time.monotonic() - since
    entry.did = _outcome((await witness.ledger.fetch(_FOUND, tenant))[0])
    expected = _expected(one)
    if entry.did != expected:
        witness.violations.other.add(f"{one.name}: {entry.did}, expected {expected}")


def _outcome(row: "dict[str, str]") -> str:
    if row["state"] == "rejected":
        return f"rejected, {row['rule']}"
    counts = Counter({name: int(count) for name, count in json.loads(row["quarantined"]).items()})
    return _text(int(row["persisted_count"]), counts)


def _expected(one: Hostile) -> str:
    if one.rejected:
        return f"rejected, {one.rejected}"
    terms = one.judged or {"rows": one.rows, "quarantined": one.quarantined}
    return _text(terms["rows"], Counter(terms["quarantined"]))


def _text(rows: int, quarantined: "Counter[str]") -> str:
    return f"{rows} rows" + "".join(f", {count} {rule}" for rule, count in sorted(quarantined.items()))


F12 = Kind("F12", "hostile files", times(20, 1_000, 1_000), hostile)
