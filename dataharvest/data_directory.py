"""A folder of its own for every worker's table, the same again after a restart."""

import fcntl
import os
from pathlib import Path


def claim_data_directory(parent: Path) -> Path:
    """The first folder ``worker-N`` below ``parent`` that no living worker uses; it is ours until the process ends.

    A restarted worker finds the table that its predecessor left and has little to recover; two workers never share one.
    """
    number = 0
    while True:
        directory = parent / f"worker-{number}"
        directory.mkdir(parents=True, exist_ok=True)
        # A bare descriptor stays open, and locked, until the process ends; a file object would be reported as unclosed.
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            number += 1
        else:
            return directory
