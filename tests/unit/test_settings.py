"""Settings: read from the environment, then from the stack's file; every problem in one sentence; secrets never shown."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from dataharvest.errors import Misconfigured
from dataharvest.settings import Settings, home, load_settings

NEEDED = {
    "DATAHARVEST_BROKER": "127.0.0.1:9092",
    "DATAHARVEST_DATABASE_URL": "postgresql://me:hush@127.0.0.1/db",
    "DATAHARVEST_S3_BUCKET": "uploads",
}


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DATAHARVEST_{name.upper()}", raising=False)
    monkeypatch.setenv("DATAHARVEST_HOME", str(tmp_path))
    load_settings.cache_clear()


def test_what_is_missing_is_named_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as refused:
        load_settings()
    sentence = str(refused.value)
    assert all(name in sentence for name in NEEDED)
    assert "dataharvest stack up" in sentence
    assert str(tmp_path / "stack.env") in sentence
    assert "\n" not in sentence


def test_what_is_wrong_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**NEEDED, "DATAHARVEST_CHUNK_BYTES": "hush-0", "DATAHARVEST_LOG_FORMAT": "hush-1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as refused:
        load_settings()
    assert "DATAHARVEST_CHUNK_BYTES" in str(refused.value)
    assert "DATAHARVEST_LOG_FORMAT" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_the_environment_wins_over_the_stack_s_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("".join(f"{name}={value}\n" for name, value in NEEDED.items()))
    assert load_settings().broker == "127.0.0.1:9092"
    load_settings.cache_clear()
    monkeypatch.setenv("DATAHARVEST_BROKER", "elsewhere:1")
    assert load_settings().broker == "elsewhere:1"
    assert load_settings().s3_bucket == "uploads"


def test_secrets_are_not_shown_and_nothing_changes_later() -> None:
    given = {"broker": "b", "database_url": NEEDED["DATAHARVEST_DATABASE_URL"], "s3_bucket": "s", "s3_secret_key": "hush"}
    settings = Settings.model_validate(given)
    assert "hush" not in repr(settings) + str(settings) + settings.model_dump_json()
    with pytest.raises(ValidationError):
        setattr(settings, "broker", "other")  # noqa: B010


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_says_what_it_is(name: str) -> None:
    description = Settings.model_fields[name].description
    assert description
    assert description.endswith(".")


@pytest.mark.parametrize(
    ("name", "value"), [("chunk_bytes", 0), ("chunk_bytes", 4_000_000), ("lease_s", 0), ("log_format", "xml")]
)
def test_a_value_that_can_not_work_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"broker": "b", "database_url": "d", "s3_bucket": "s", name: value})


def test_the_home_is_below_the_working_directory_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert home() == tmp_path
    monkeypatch.delenv("DATAHARVEST_HOME")
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / ".dataharvest"
