"""What ``dataharvest stack status`` says about each service."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TypeVar

import psutil

from dataharvest.stack.embedded import Stack
from dataharvest.stack.service import Service, ServiceState

MEBIBYTE = 1_048_576
T = TypeVar("T")


@dataclass(frozen=True)
class ServiceReport:
    """One service at one moment; what is not known of a service that does not run is None."""

    service: str
    state: ServiceState
    address: str
    pid: int | None
    uptime_s: float | None
    memory_bytes: int | None
    """Resident memory of the server and its child processes; pages they share count once per process."""

    def as_json(self) -> dict[str, object]:
        """The report's fields."""
        return asdict(self)

    def as_row(self) -> tuple[str, ...]:
        """The report's cells in a table."""
        return (
            self.service,
            self.state,
            self.address or "-",
            _cell(self.pid, str),
            _cell(self.uptime_s, lambda seconds: str(timedelta(seconds=int(seconds)))),
            _cell(self.memory_bytes, lambda size: f"{size / MEBIBYTE:.0f} MiB"),
        )


def reports(stack: Stack) -> list[ServiceReport]:
    """One report per service, in the order in which they start."""
    return [_report(service) for service in stack.services]


def _report(service: Service) -> ServiceReport:
    pid = service.pid
    state = service.state()
    if pid is None:
        return ServiceReport(service.name, state, service.address, None, None, None)
    try:
        process = psutil.Process(pid)
        uptime_s = round(time.time() - process.create_time(), 1)
        memory = sum(member.memory_info().rss for member in [process, *process.children(recursive=True)])
    except psutil.NoSuchProcess:
        return ServiceReport(service.name, service.state(), service.address, None, None, None)
    return ServiceReport(service.name, state, service.address, pid, uptime_s, memory)


def _cell(value: T | None, show: Callable[[T], str]) -> str:
    return "-" if value is None else show(value)
