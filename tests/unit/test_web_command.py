"""`dataharvest web` keeps to this machine unless it is told otherwise, and says why."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataharvest.cli.web import is_loopback, web
from dataharvest.settings import load_settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "10.0.0.1", "example.org", ""])
def test_an_address_that_others_reach_is_refused_and_the_reason_given(host: str) -> None:
    done = CliRunner().invoke(web, ["--host", host])

    assert done.exit_code == 2
    assert "no login yet" in done.output
    assert "--without-login" in done.output


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "localhost", "::1", "[::1]"])
def test_this_machine_alone_is_the_loopback(host: str) -> None:
    assert is_loopback(host)


def test_a_port_that_is_taken_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATAHARVEST_HOME", str(tmp_path))
    for name, value in {"BROKER": "b:1", "DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "S3_BUCKET": "b"}.items():
        monkeypatch.setenv(f"DATAHARVEST_{name}", value)
    load_settings.cache_clear()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = CliRunner().invoke(web, ["--port", str(taken.getsockname()[1])])
    load_settings.cache_clear()

    assert done.exit_code == 2
    assert "can't listen on 127.0.0.1" in done.output
    assert "Traceback" not in done.output
