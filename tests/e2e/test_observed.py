"""What a worker shows of itself while a set goes through it, on the real services."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataharvest.metrics import METRICS
from dataharvest.rules.standing import State
from tests.conftest import RunWorkers, Worker
from tests.e2e.outside import Outside
from tests.e2e.sets import make_set
from tests.kills.world import eventually


@pytest.fixture(scope="module")
def worker(running_workers: RunWorkers) -> Iterator[Worker]:
    with running_workers(1, DATAHARVEST_METRICS_PORT="0", DATAHARVEST_LOG_FORMAT="json") as [worker]:
        yield worker


def scrape(worker: Worker) -> dict[tuple[str, ...], float]:
    """Samples by name and the labels' values, in order of the labels; an AssertionError when one is of no declared metric."""
    lines = [json.loads(line) for line in worker.log_text().splitlines() if line.startswith("{")]
    [served] = [line for line in lines if line["message"] == "metrics are served"]
    with urllib.request.urlopen(f"http://{served['host']}:{served['port']}/metrics", timeout=10) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    for family in families:
        assert family.name.startswith("process_") or {family.name, f"{family.name}_total"} & METRICS.keys(), family.name
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


async def test_a_journey_is_seen_in_the_metrics(worker: Worker, stack_environment: dict[str, str]) -> None:
    outside = Outside(stack_environment)
    files = make_set("observed")
    await outside.put_set(files)
    await outside.put("observed/clients_20261123.txt", b"no data")
    await outside.send_event(b"not an event")
    await outside.published(["observed"])

    async def all_measured() -> bool:
        found = scrape(worker)
        lags = {labels[0]: value for (name, *labels), value in found.items() if name == "dataharvest_lag_messages"}
        is_rejected = ("dataharvest_dead_lettered_total", "unreadable_event", "register") in found
        return is_rejected and set(lags) >= {"uploads", "chunks", "progress", "readiness", "work"} and not any(lags.values())

    await eventually(all_measured, what="the journey in the metrics, and nothing left to do", within_s=60)
    found = scrape(worker)
    assert found["dataharvest_rows_stored_total", "transactions"] == 60
    assert found["dataharvest_chunks_stored_total", "transactions"] == found["dataharvest_chunks_sent_total", "transactions"] == 1
    assert found["dataharvest_outbound_messages_total", "outbound.clients"] == 6
    assert found["dataharvest_outbound_messages_total", "outbound.portfolios"] == 9
    for stage in ("register", "split", "persist", "fold", "fan_out", "work"):
        assert found["dataharvest_stage_seconds_count", stage] > 0
    for name in ("ready", "published"):
        assert found[f"dataharvest_set_{name}_seconds_count",] == 1
        assert 0 < found[f"dataharvest_set_{name}_seconds_sum",] < 60
    assert found["dataharvest_batch_seconds_count", "judge"] == 4
    assert {labels[0] for name, *labels in found if name == "dataharvest_sets"} == {state.value for state in State}
    assert found["process_resident_memory_bytes",] > 10_000_000


async def test_a_scrape_holds_no_port_but_the_loopback_s(worker: Worker) -> None:
    import psutil

    process = psutil.Process(worker.process.pid)
    listening = [one for one in await asyncio.to_thread(process.net_connections, "inet") if one.status == psutil.CONN_LISTEN]

    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}
