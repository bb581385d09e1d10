"""Every metric, declared once with its unit and its meaning; whoever sees something happen counts it here.

No metric is labelled by tenant: a tenant is whatever stands first in an object key, so their number has no bound.
`dataharvest status` answers what concerns one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.process_collector import ProcessCollector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY = CollectorRegistry()
_STAGE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_SET_S = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)

disable_created_metrics()  # type: ignore[no-untyped-call]
ProcessCollector(registry=REGISTRY)


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is said of a metric."""

    name: str
    kind: str
    """counter, gauge or histogram."""
    unit: str
    meaning: str
    labels: tuple[str, ...]


METRICS: dict[str, Declared] = {}
"""By name, in the order of the journey."""


def exposition() -> bytes:
    """Everything as Prometheus reads it; send it with ``CONTENT_TYPE``."""
    return generate_latest(REGISTRY)


def _declare(kind: str, name: str, unit: str, meaning: str, labels: Sequence[str]) -> None:
    METRICS[name] = Declared(name=name, kind=kind, unit=unit, meaning=meaning, labels=tuple(labels))


def _counter(name: str, meaning: str, labels: Sequence[str] = (), *, unit: str) -> Counter:
    _declare("counter", name, unit, meaning, labels)
    return Counter(name, f"{meaning} Unit: {unit}.", labels, registry=REGISTRY)


def _gauge(name: str, meaning: str, labels: Sequence[str] = (), *, unit: str) -> Gauge:
    _declare("gauge", name, unit, meaning, labels)
    return Gauge(name, f"{meaning} Unit: {unit}.", labels, registry=REGISTRY)


def _histogram(name: str, meaning: str, labels: Sequence[str] = (), *, buckets: Sequence[float]) -> Histogram:
    _declare("histogram", name, "seconds", meaning, labels)
    return Histogram(name, f"{meaning} Unit: seconds.", labels, buckets=buckets, registry=REGISTRY)


STAGE_SECONDS = _histogram(
    "dataharvest_stage_seconds",
    "From taking a message, for `split` a delivery, to the end of its effects, retries included.",
    ["stage"],
    buckets=_STAGE_S,
)
BATCH_SECONDS = _histogram("dataharvest_batch_seconds", "One batch of a rule, or a judgement.", ["rule"], buckets=_STAGE_S)
STAGE_RETRIES = _counter(
    "dataharvest_stage_retries_total", "Attempts that an outage ended and that come again.", ["stage"], unit="attempts"
)
LOOP_RETRIES = _counter(
    "dataharvest_loop_retries_total", "Turns of a loop that an outage ended and that come again.", ["loop"], unit="turns"
)
DEAD_LETTERED = _counter(
    "dataharvest_dead_lettered_total", "Messages that this process has dead-lettered.", ["stage", "rule"], unit="messages"
)
CHUNKS_SENT = _counter("dataharvest_chunks_sent_total", "Chunks that a splitter has sent.", ["entity"], unit="chunks")
CHUNKS_STORED = _counter("dataharvest_chunks_stored_total", "Chunks stored, each once.", ["entity"], unit="chunks")
BYTES_STORED = _counter("dataharvest_content_bytes_total", "Decompressed content of the stored chunks.", ["entity"], unit="bytes")
ROWS_STORED = _counter("dataharvest_rows_stored_total", "Records stored as rows.", ["entity"], unit="records")
ROWS_QUARANTINED = _counter(
    "dataharvest_rows_quarantined_total", "Records put into quarantine as their chunk was stored.", ["entity"], unit="records"
)
SET_READY_SECONDS = _histogram(
    "dataharvest_set_ready_seconds", "From the arrival of a set version's last file to its readiness.", buckets=_SET_S
)
SET_PUBLISHED_SECONDS = _histogram(
    "dataharvest_set_published_seconds", "From the arrival of a set version's last file to its last message.", buckets=_SET_S
)
OUTBOUND_SENT = _counter(
    "dataharvest_outbound_messages_total", "Messages for the systems downstream, repeats included.", ["topic"], unit="messages"
)
SWEEP_FOUND = _counter(
    "dataharvest_sweep_found_total", "What a sweep has found left behind and given again.", ["kind"], unit="findings"
)
WEBHOOK_CALLS = _counter(
    "dataharvest_webhook_calls_total",
    "Calls of webhooks, by what became of them.",
    ["outcome"],
    unit="calls",
)

LAG_MESSAGES = _gauge(
    "dataharvest_lag_messages", "Messages of a topic that the workers have not finished.", ["topic"], unit="messages"
)
SETS = _gauge("dataharvest_sets", "Sets of the last 31 days by state, as `status` names it.", ["state"], unit="sets")
LATE_SETS = _gauge(
    "dataharvest_late_sets", "Sets of the last 31 days without a version although their cut-off is past.", unit="sets"
)
LATENESS_SECONDS = _gauge(
    "dataharvest_lateness_seconds", "How far past is the oldest cut-off among the late sets; 0 without any.", unit="seconds"
)
QUARANTINE_OPEN = _gauge(
    "dataharvest_quarantine_open", "Records in quarantine that nobody has repaired or accepted.", unit="records"
)
DEAD_LETTERS = _gauge("dataharvest_dead_letters", "Dead letters of all time.", unit="messages")
UNFINISHED_SECONDS = _gauge(
    "dataharvest_unfinished_seconds", "Age of the oldest delivery that is not stored completely; 0 without any.", unit="seconds"
)
MEASURED_AT = _gauge(
    "dataharvest_measured_timestamp_seconds",
    "When PostgreSQL and Kafka were last asked; the gauges above are from then.",
    unit="seconds since 1970",
)
