"""The stack's commands are light to look at and speak in one sentence."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dataharvest.cli.stack import one_sentence, stack
from dataharvest.errors import Misconfigured

HEAVY = ("aiokafka", "boto3", "faust", "jgo", "polars", "psutil", "rich")


def test_help_loads_nothing_heavy() -> None:
    code = f"import sys, dataharvest.cli.stack; print([name for name in {HEAVY} if name in sys.modules])"

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"


def test_an_expected_failure_is_one_sentence_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    @one_sentence
    def command() -> None:
        raise Misconfigured("Java is missing")

    with pytest.raises(SystemExit) as ended:
        command()

    assert ended.value.code == 1
    assert capsys.readouterr().err == "dataharvest stack: Java is missing\n"


def test_a_stack_that_was_never_up_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAHARVEST_HOME", str(tmp_path / "home"))

    shown = CliRunner().invoke(stack, ["status", "--json"])

    assert shown.exit_code == 1
    assert {report["service"]: report["state"] for report in json.loads(shown.output)} == {
        "kafka": "stopped",
        "postgres": "stopped",
        "s3": "stopped",
    }
    assert not (tmp_path / "home").exists()


def test_stopping_a_stack_that_was_never_up_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAHARVEST_HOME", str(tmp_path / "home"))

    assert CliRunner().invoke(stack, ["down"]).exit_code == 0
    assert not (tmp_path / "home").exists()


def test_a_damaged_state_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAHARVEST_HOME", str(tmp_path))
    (tmp_path / "state.json").write_text('{"ports": ')

    shown = CliRunner().invoke(stack, ["status"])

    assert shown.exit_code == 1
    assert "state.json is damaged" in shown.stderr
    assert len(shown.stderr.splitlines()) == 1
