"""Log lines: JSON or readable, values beside a constant text, floods cut short."""

import json
import logging
import logging.config
import sys

import pytest

from dataharvest.errors import Rejected, Unavailable
from dataharvest.logs import JsonLines, RateLimit, Readable, logging_config, traceback_of


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


def test_an_exception_is_shown_with_its_place_and_kind_and_without_what_it_may_quote() -> None:
    shown = json.loads(JsonLines().format(failing_record()))["exception"]

    assert "in failing_record" in shown
    assert shown.splitlines()[-1] == "builtins.ValueError: (text withheld)"
    assert Readable().format(failing_record()).splitlines()[-1] == "builtins.ValueError: (text withheld)"
    assert Readable().format(failing_record()).count("in failing_record") == 1


def raised(error: Exception, *, cause: Exception | None = None) -> Exception:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_causes_are_shown_the_first_first_and_quote_nothing_either() -> None:
    name = "Frida"
    error = raised(Unavailable("PostgreSQL is away"), cause=raised(ValueError(name), cause=raised(Rejected(name, rule="money"))))

    shown = traceback_of(error)

    assert [line for line in shown.splitlines() if ": " in line and not line.startswith(" ")] == [
        "dataharvest.errors.Rejected: (text withheld)",
        "builtins.ValueError: (text withheld)",
        "dataharvest.errors.Unavailable: PostgreSQL is away",
    ]
    assert name not in shown


def test_exceptions_of_a_group_are_shown_without_their_texts() -> None:
    shown = traceback_of(ExceptionGroup("Frida", [ValueError("Müller"), OSError("disk full")]))

    assert "Frida" not in shown
    assert "Müller" not in shown
    assert shown.splitlines()[-1] == "builtins.OSError: disk full"


def test_a_readable_line_stays_one_line_whatever_a_value_holds() -> None:
    shown = Readable().format(record_of(object_key="acme/a\n12:00:00 ERROR forged\x1b[31m", reason="Größe"))

    assert shown.splitlines() == [
        r"00:00:00 WARNING  stage unavailable, retrying  object_key=acme/a\n12:00:00 ERROR forged\x1b[31m  reason=Größe"
    ]


def test_asyncio_s_own_lines_hold_no_text_of_an_exception() -> None:
    config = logging_config("json")
    [name] = config["loggers"]["asyncio"]["filters"]
    first_line = config["filters"][name]["()"]()
    record = record_of("Task exception was never retrieved\nfuture: <Task exception=ValueError('Frida')>", name="asyncio")

    assert first_line.filter(record)
    assert json.loads(JsonLines().format(record))["message"] == "Task exception was never retrieved"


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
