"""A folder of its own for every worker's table, the same again after a restart."""

import fcntl
from pathlib import Path
from typing import TextIO

_held: list[TextIO] = []


def claim_data_directory(parent: Path) -> Path:
    """The first folder ``worker-N`` below ``parent`` that no living worker uses; it is ours until the process ends.

    A restarted worker finds the table that its predecessor left and has little to recover; two workers never share one.
    """
    number = 0
    while True:
        directory = parent / f"worker-{number}"
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / "lock").open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
        else:
            _held.append(lock)
            return directory
