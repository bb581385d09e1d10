"""The splitter as a process of its own: its threads step back, its event loop does not."""

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from dataharvest.cli.split import step_back


def own_niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no niceness of its own")
@pytest.mark.parametrize("back", [0, 3, 19])
def test_a_thread_steps_back_from_where_it_is_and_the_others_do_not(back: int) -> None:
    before = own_niceness()
    with ThreadPoolExecutor(1, initializer=partial(step_back, back)) as threads:
        assert threads.submit(own_niceness).result() == min(19, before + back)
    assert own_niceness() == before
