"""How log lines look: JSON in production, readable on a terminal; constant text, values beside it, contents of records never."""

import json
import logging
import logging.config
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from traceback import TracebackException
from typing import Any

from dataharvest.errors import DataHarvestError, Rejected

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}


class JsonLines(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_extra(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the name is logging's)
        """The traceback without the texts that may quote a record."""
        return traceback_of(ei[1])


class Readable(logging.Formatter):
    """Time, level, text, then the values as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        values = "".join(f"  {name}={_printable(value)}" for name, value in _extra(record).items())
        at = datetime.fromtimestamp(record.created, UTC)
        line = f"{at:%H:%M:%S} {record.levelname:8} {_printable(record.getMessage())}{values}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, ei: Any) -> str:  # noqa: N802 (the name is logging's)
        """The traceback without the texts that may quote a record."""
        return traceback_of(ei[1])


def traceback_of(error: BaseException) -> str:
    """Where an exception and its causes were raised, and of what kind they are.

    What an exception says is shown only of our own and the operating system's: any other may quote what it failed on, and that
    may be a person's name. Lines of source hold no values.
    """
    return "".join(_traceback_parts(error)).rstrip("\n")


def _traceback_parts(error: BaseException) -> Iterator[str]:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from _traceback_parts(cause)
        yield "\nwhich led to:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from TracebackException.from_exception(error, capture_locals=False).stack.format()
    says_itself = isinstance(error, OSError | DataHarvestError) and not isinstance(error, Rejected)
    yield f"{type(error).__module__}.{type(error).__qualname__}: {error if says_itself else '(text withheld)'}\n"
    for inner in getattr(error, "exceptions", ()):
        yield from _traceback_parts(inner)


def _printable(value: object) -> str:
    """The value on one line, whatever an object key or a server's answer may hold."""
    text = str(value)
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


class FirstLine(logging.Filter):
    """Cuts a message to its first line: asyncio puts the exception's text behind it, and that may quote a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always; the record is changed."""
        record.msg, record.args = record.getMessage().partition("\n")[0], None
        return True


class RateLimit(logging.Filter):
    """Lets a line of one logger through at most once in ``interval_s``: an absent broker logs 75 a second."""

    def __init__(self, interval_s: float = 5.0) -> None:
        super().__init__()
        self._interval_s = interval_s
        self._last: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is shown."""
        line = record.name, str(record.msg)
        now = time.monotonic()
        if now - self._last.get(line, -self._interval_s) < self._interval_s:
            return False
        self._last[line] = now
        return True


def writes_json(log_format: str) -> bool:
    """Whether this process logs JSON."""
    return log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())


def logging_config(log_format: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``."""
    as_json = writes_json(log_format)
    quiet = {"level": "WARNING"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonLines if as_json else Readable}},
        "filters": {"rate": {"()": RateLimit}, "first line": {"()": FirstLine}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"},
            "limited": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line", "filters": ["rate"]},
        },
        "loggers": {
            "dataharvest": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
            "aiokafka": {"level": "WARNING", "handlers": ["limited"], "propagate": False},
            "faust": {"level": "WARNING", "handlers": ["limited"], "propagate": False},
            "asyncio": {**quiet, "filters": ["first line"]},
            # A collector that is away must not fill the log.
            "opentelemetry": {"level": "ERROR", "handlers": ["limited"], "propagate": False},
            "mode": quiet,
            "botocore": quiet,
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    }


def configure_logging(log_format: str) -> None:
    """Let this process log as ``DATAHARVEST_LOG_FORMAT`` says; a worker is told by Faust."""
    logging.config.dictConfig(logging_config(log_format))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
