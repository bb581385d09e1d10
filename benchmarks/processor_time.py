"""Processor time by part of the system: which of them a figure is bound by."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import psutil

from benchmarks.site import Site


class ProcessorTime:
    """Seconds of processor time since the last `restart`, by part."""

    def __init__(self, site: Site, workers: Sequence[int]) -> None:
        """Watch the site's services and its workers, the last of whose process ids is the splitter's."""
        pids: dict[str, Sequence[int | None]] = {service.name: [service.pid] for service in site.stack.services}
        self._pids = {**pids, "workers": list(workers[:-1]), "splitter": list(workers[-1:])}
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._before = self._now()

    def spent_s(self) -> dict[str, float]:
        """What each part used."""
        return {part: round(seconds - self._before[part], 2) for part, seconds in self._now().items()}

    def _now(self) -> Mapping[str, float]:
        return {part: sum(_seconds(pid) for pid in pids if pid is not None) for part, pids in self._pids.items()}


@contextmanager
def watched(site: Site, workers: Sequence[int]) -> Iterator[dict[str, float]]:
    """A dictionary that holds the processor time by part once the block has ended."""
    found: dict[str, float] = {}
    time = ProcessorTime(site, workers)
    yield found
    found |= time.spent_s()


def _seconds(pid: int) -> float:
    process = psutil.Process(pid)
    own = process.cpu_times()
    # A session of PostgreSQL that ended is counted by its server.
    ended = own.children_user + own.children_system
    return own.user + own.system + ended + sum(map(_own_seconds, process.children(recursive=True)))


def _own_seconds(process: psutil.Process) -> float:
    try:
        own = process.cpu_times()
    except psutil.NoSuchProcess:
        # It ended a moment ago: from the next look on it is counted by its server.
        return 0.0
    return own.user + own.system
