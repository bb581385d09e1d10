"""How log lines look: JSON in production, readable on a terminal; constant text, values beside it."""

import json
import logging
import sys
import time
from datetime import UTC, datetime
from typing import Any

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


class Readable(logging.Formatter):
    """Time, level, text, then the values as ``name=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        values = "".join(f"  {name}={value}" for name, value in _extra(record).items())
        line = f"{datetime.fromtimestamp(record.created, UTC):%H:%M:%S} {record.levelname:8} {record.getMessage()}{values}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


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


def logging_config(log_format: str) -> dict[str, Any]:
    """The configuration for ``logging.config.dictConfig``."""
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    quiet = {"level": "WARNING"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": JsonLines if as_json else Readable}},
        "filters": {"rate": {"()": RateLimit}},
        "handlers": {
            "stderr": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line"},
            "limited": {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": "line", "filters": ["rate"]},
        },
        "loggers": {
            "dataharvest": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
            "aiokafka": {"level": "WARNING", "handlers": ["limited"], "propagate": False},
            "faust": {"level": "WARNING", "handlers": ["limited"], "propagate": False},
            "mode": quiet,
            "botocore": quiet,
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
    }


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
