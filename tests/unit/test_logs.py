"""Log lines: JSON or readable, values beside a constant text, floods cut short."""

import json
import logging
import logging.config
import sys

import pytest

from dataharvest.logs import JsonLines, RateLimit, Readable, logging_config


def record_of(text: str = "stage unavailable, retrying", *, name: str = "dataharvest", **values: object) -> logging.LogRecord:
    record = logging.makeLogRecord(
        {"name": name, "msg": text, "levelno": logging.WARNING, "levelname": "WARNING", "created": 0.5}
    )
    vars(record).update(values)
    return record


def failing_record() -> logging.LogRecord:
    record = record_of()
    try:
        raise ValueError("a bug")
    except ValueError:
        record.exc_info = sys.exc_info()
    return record


def test_a_json_line_has_the_text_and_the_values() -> None:
    line = JsonLines().format(record_of(attempt=3, delay_s=0.4, where=("a", 1)))
    assert "\n" not in line
    assert json.loads(line) == {
        "at": "1970-01-01T00:00:00.500000+00:00",
        "level": "WARNING",
        "logger": "dataharvest",
        "message": "stage unavailable, retrying",
        "attempt": 3,
        "delay_s": 0.4,
        "where": ["a", 1],
    }


def test_a_readable_line_has_them_too() -> None:
    assert Readable().format(record_of(attempt=3)) == "00:00:00 WARNING  stage unavailable, retrying  attempt=3"


def test_an_exception_is_shown_with_its_traceback() -> None:
    assert "ValueError: a bug" in json.loads(JsonLines().format(failing_record()))["exception"]
    assert Readable().format(failing_record()).splitlines()[-1] == "ValueError: a bug"


def test_the_same_line_of_a_logger_comes_once_in_a_while() -> None:
    limit = RateLimit(60)
    shown = [limit.filter(record_of("broker %s is down", name=name, attempt=attempt)) for attempt in range(3) for name in "ab"]
    assert shown == [True, True, False, False, False, False]
    assert limit.filter(record_of("another line"))
    assert all(RateLimit(0).filter(record_of()) for _ in range(3))


@pytest.mark.parametrize(("log_format", "formatter"), [("json", JsonLines), ("text", Readable), ("auto", JsonLines)])
def test_the_configuration_is_sound_and_keeps_the_broker_s_floods_out(
    log_format: str, formatter: type[logging.Formatter]
) -> None:
    config = logging_config(log_format)
    logging.config.DictConfigurator(config)
    assert config["formatters"]["line"]["()"] is formatter
    for name in ("aiokafka", "faust"):
        assert config["handlers"][config["loggers"][name]["handlers"][0]]["filters"] == ["rate"]
