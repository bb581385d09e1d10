"""The splitter as a process of its own: its threads step back, its event loop does not."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from dataharvest.cli.split import step_back

BACK = 3


def own_niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_only_the_threads_step_back() -> None:
    before = own_niceness()
    with ThreadPoolExecutor(1, initializer=partial(step_back, before + BACK)) as threads:
        assert threads.submit(own_niceness).result() == before + BACK
    assert own_niceness() == before
