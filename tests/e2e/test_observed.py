"""What a worker shows of itself while a set goes through it, on the real services."""

import asyncio
import gzip
import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from dataharvest.metrics import METRICS
from dataharvest.rules.batching import SMALL_RECORDS
from dataharvest.rules.standing import State
from tests.conftest import Command, RunWorkers, Worker
from tests.e2e.outside import Outside
from tests.e2e.sets import make_set
from tests.kills.world import eventually

BOOKED = SMALL_RECORDS + 1
FILES = make_set("observed", transactions=BOOKED)
"""Not so small that it would be done where it is found to be due, without a message to ``work``."""


class Collector(ThreadingHTTPServer):
    """Understands OTLP over HTTP and keeps every span: its name and its parent's id, by trace and span id."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Collecting)
        self.spans: dict[tuple[str, str], tuple[str, str]] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def path_to(self, traceparent: str) -> list[str]:
        """Names of the spans from a trace's first to this one; a name is missing where the span has not arrived."""
        _, trace_id, span_id, _ = traceparent.split("-")
        names: list[str] = []
        while span_id:
            name, span_id = self.spans.get((trace_id, span_id), ("?", ""))
            names.insert(0, name)
        return names


class Collecting(BaseHTTPRequestHandler):
    """One request with spans."""

    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = ExportTraceServiceRequest.FromString(
            gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body
        )
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.server.spans[span.trace_id.hex(), span.span_id.hex()] = (span.name, span.parent_span_id.hex())
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def worker(running_workers: RunWorkers, collector: Collector) -> Iterator[Worker]:
    settings = {"METRICS_PORT": "0", "LOG_FORMAT": "json", "TRACES_URL": collector.url}
    with running_workers(1, **{f"DATAHARVEST_{name}": value for name, value in settings.items()}) as [worker]:
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
    await outside.put_set(FILES)
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
    assert found["dataharvest_rows_stored_total", "transactions"] == BOOKED
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


async def test_a_trace_leads_from_the_upload_to_the_outbound_message(
    worker: Worker, collector: Collector, stack_environment: dict[str, str]
) -> None:
    outside = Outside(stack_environment)
    sent = [one for one in await outside.records("outbound.clients") if one.key and one.key.startswith(b"observed|")]
    assert len(sent) == 6
    [traceparent] = {dict(one.headers)["traceparent"].decode() for one in sent}

    async def all_arrived() -> bool:
        path = collector.path_to(traceparent)
        return "?" not in path and path[0] == "register"

    await eventually(all_arrived, what="the spans at the collector", within_s=30)
    path = collector.path_to(traceparent)
    assert path[:2] == ["register", "split"]
    assert path[-1] == "work"
    assert "ready" in path


def line_of(entity: str, key: str, *, column: int) -> int:
    """The line of the only record with this text in this column."""
    [line] = [number for number, row in enumerate(FILES.rows[entity], start=2) if row[column] == key]
    return line


async def test_lineage_leads_from_a_message_back_to_the_lines_of_the_files(
    worker: Worker, dataharvest: Command, stack_environment: dict[str, str]
) -> None:
    outside = Outside(stack_environment)
    messages = (await outside.outbound("observed"))["observed"]
    for message in (messages[0], next(one for one in messages if one.topic == "outbound.portfolios")):
        asked = await asyncio.to_thread(dataharvest, "lineage", message.value["message_id"], "--json", "--limit", "1000")
        assert asked.returncode == 0, asked.stderr
        answer = json.loads(asked.stdout)
        assert (answer["topic"], answer["key"], answer["value"]) == (message.topic, message.key, dict(message.value))
        found = {file["entity"]: [(one["natural_key"], one["line"]) for one in file["records"]] for file in answer["files"]}
        owned = [row for row in FILES.rows["portfolios"] if message.reference in (row[2], row[3])]
        accounts = sorted({row[1] for row in owned})
        assert found["accounts"] == [(one, line_of("accounts", one, column=1)) for one in accounts]
        assert found["portfolios"] == [(row[2], line_of("portfolios", row[2], column=2)) for row in owned]
        if message.topic == "outbound.clients":
            assert found["clients"] == [(message.reference, line_of("clients", message.reference, column=3))]
        else:
            booked = [(row[2], line) for line, row in enumerate(FILES.rows["transactions"], start=2) if row[1] in accounts]
            assert found["transactions"] == booked
        assert all(file["version_id"] and file["file"] == FILES.object_key(file["entity"]) for file in answer["files"])
    told = await asyncio.to_thread(dataharvest, "lineage", messages[0].value["message_id"])
    assert "version 1 of observed 2026-11-23, sent at" in told.stdout
    assert "line " in told.stdout


async def test_an_id_that_is_none_or_nobody_s_is_one_sentence(dataharvest: Command) -> None:
    nobody = str(uuid4())
    for argument, text in (("nonsense", "'nonsense' is not a valid UUID"), (nobody, f"no outbound message has the id {nobody}")):
        asked = await asyncio.to_thread(dataharvest, "lineage", argument)
        assert (asked.returncode, asked.stdout) == (2, "")
        assert text in asked.stderr
        assert "Traceback" not in asked.stderr
