"""The gauges of a process and the port that shows them."""

import logging
import socket
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from dataharvest.errors import Unavailable
from dataharvest.measuring import Measured, Measuring
from dataharvest.metrics import exposition
from dataharvest.metrics_endpoint import PORTS_TRIED, serve_metrics

NOTHING = Measured(sets={}, late_sets=0, lateness_s=0.0, quarantine_open=0, dead_letters=0, unfinished_s=0.0)

HOST = "127.0.0.1"


@dataclass
class Answers:
    """PostgreSQL and Kafka, as far as they are measured."""

    measured: Measured = NOTHING
    lags: Mapping[str, int] = field(default_factory=dict)
    asked: int = 0
    is_away: bool = False

    async def measure(self, *, window: timedelta) -> Measured:
        self.asked += 1
        if self.is_away:
            raise Unavailable("PostgreSQL is away")
        return self.measured

    async def lag(self) -> Mapping[str, int]:
        return self.lags


def shown() -> dict[tuple[str, ...], float]:
    """Samples by name and label values."""
    families = text_string_to_metric_families(exposition().decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


async def test_the_gauges_show_what_was_measured_and_zero_for_states_without_a_set() -> None:
    states = {"blocked": 2, "published": 40}
    measured = Measured(sets=states, late_sets=1, lateness_s=60.5, quarantine_open=3, dead_letters=4, unfinished_s=5.5)
    answers = Answers(measured, {"chunks": 17})

    await Measuring(answers, answers, clock=lambda: 1000.0).refresh()

    found = shown()
    assert found["dataharvest_sets", "blocked"] == 2
    assert found["dataharvest_sets", "published"] == 40
    assert found["dataharvest_sets", "loading"] == 0
    assert found["dataharvest_lag_messages", "chunks"] == 17
    assert [found[f"dataharvest_{name}",] for name in ("late_sets", "lateness_seconds", "quarantine_open")] == [1, 60.5, 3]
    assert [found[f"dataharvest_{name}",] for name in ("dead_letters", "unfinished_seconds")] == [4, 5.5]
    assert found["dataharvest_measured_timestamp_seconds",] == 1000


async def test_scrapes_shortly_after_each_other_ask_once() -> None:
    now = 1000.0
    answers = Answers()
    measuring = Measuring(answers, answers, clock=lambda: now)
    for _ in range(3):
        await measuring.refresh(max_age_s=10)
    assert answers.asked == 1

    now += 10
    await measuring.refresh(max_age_s=10)
    assert answers.asked == 2


async def test_an_outage_leaves_the_gauges_and_their_time_as_they_were() -> None:
    now = 1000.0
    answers = Answers(NOTHING._replace(dead_letters=7))
    measuring = Measuring(answers, answers, clock=lambda: now)
    await measuring.refresh()
    answers.is_away, now = True, 2000.0

    with pytest.raises(Unavailable):
        await measuring.refresh()

    assert (shown()["dataharvest_dead_letters",], shown()["dataharvest_measured_timestamp_seconds",]) == (7, 1000)


def test_no_port_is_open_unless_one_is_asked_for() -> None:
    assert serve_metrics(None, host=HOST) is None


def test_workers_with_the_same_setting_take_a_port_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataharvest")
    with socket.create_server((HOST, 0)) as taken:
        first_port = taken.getsockname()[1]
        closes = [serve_metrics(first_port, host=HOST) for _ in range(2)]
        ports = [vars(record)["port"] for record in caplog.records if record.getMessage() == "metrics are served"]
        try:
            assert len(set(ports)) == 2
            assert all(first_port < port < first_port + PORTS_TRIED for port in ports)
            for port in ports:
                with urllib.request.urlopen(f"http://{HOST}:{port}/metrics") as answer:
                    assert answer.headers["Content-Type"].startswith("text/plain")
                    assert b"dataharvest_stage_seconds" in answer.read()
        finally:
            for close in closes:
                assert close is not None
                close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((HOST, ports[0]))


def test_a_worker_without_a_free_port_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server((HOST, 65_535)):
        assert serve_metrics(65_535, host=HOST) is None

    assert [record.getMessage() for record in caplog.records] == ["no port is free, metrics are not served"]


def test_metrics_are_open_where_they_are_told_to_be_and_nowhere_else(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dataharvest")
    close = serve_metrics(0, host="127.0.0.2")
    [record] = caplog.records
    port = vars(record)["port"]
    try:
        with urllib.request.urlopen(f"http://127.0.0.2:{port}/metrics") as answer:
            assert answer.status == 200
        with pytest.raises(OSError, match="refused"):
            socket.create_connection((HOST, port))
    finally:
        assert close is not None
        close()
