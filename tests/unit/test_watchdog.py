"""When a worker counts as stuck, and when it only waits."""

import socket
import subprocess
import sys

import pytest

from dataharvest.watchdog import EXIT_STUCK, Vitals, answers

LIMIT_S = 10.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vitals(clock: Clock) -> Vitals:
    return Vitals(LIMIT_S, clock)


def live(vitals: Vitals, clock: Clock, *, seconds: int, is_flowing: bool = True, is_behind: bool = False) -> None:
    for _ in range(seconds):
        clock.now += 1
        vitals.beat(is_flowing=is_flowing, is_behind=is_behind)


def test_an_idle_worker_lives_for_ever(vitals: Vitals, clock: Clock) -> None:
    live(vitals, clock, seconds=1000)

    assert vitals.complaint() is None


def test_without_a_limit_nothing_is_missed(clock: Clock) -> None:
    vitals = Vitals(0.0, clock)
    vitals.pick_up("a message")
    vitals.come_round()
    clock.now = 1e9

    assert (vitals.complaint(), vitals.is_loop_blocked()) == (None, False)


def test_an_event_loop_that_does_not_run_is_blocked(vitals: Vitals, clock: Clock) -> None:
    live(vitals, clock, seconds=5)
    clock.now += LIMIT_S
    assert vitals.complaint() is None
    clock.now += 1

    assert vitals.complaint() == "the event loop is blocked"


def test_a_rebalance_or_recovery_that_does_not_end_is_found(vitals: Vitals, clock: Clock) -> None:
    live(vitals, clock, seconds=9, is_flowing=False, is_behind=True)
    assert vitals.complaint() is None
    live(vitals, clock, seconds=2, is_flowing=False, is_behind=True)

    assert vitals.complaint() == "a rebalance or recovery does not end"


def test_a_splitters_loop_that_does_not_come_round_is_found_although_the_process_beats(vitals: Vitals, clock: Clock) -> None:
    for _ in range(20):
        vitals.come_round()
        live(vitals, clock, seconds=9)
        assert vitals.complaint() is None
    live(vitals, clock, seconds=2)

    assert vitals.complaint() == "the splitters' loop does not come round"
    vitals.revive()
    assert vitals.complaint() is None


def test_a_message_that_never_comes_back_is_found_although_others_do(vitals: Vitals, clock: Clock) -> None:
    vitals.pick_up("stuck")
    for number in range(11):
        vitals.pick_up(number)
        live(vitals, clock, seconds=1, is_behind=True)
        vitals.put_down(number)

    assert vitals.complaint() == "a message has been in hand for too long"


def test_messages_that_wait_while_none_is_read_are_found(vitals: Vitals, clock: Clock) -> None:
    live(vitals, clock, seconds=11, is_behind=True)

    assert vitals.complaint() == "messages wait and none is read"


def test_a_message_that_was_read_and_blocks_the_loop_is_not_one_that_nobody_reads(vitals: Vitals, clock: Clock) -> None:
    live(vitals, clock, seconds=5)
    # It came between two beats, and was read after the second of them.
    live(vitals, clock, seconds=1, is_behind=True)
    vitals.pick_up("a message")
    clock.now += LIMIT_S - 0.5
    assert vitals.complaint() is None
    clock.now += 1

    assert vitals.complaint() == "the event loop is blocked"


def test_to_try_again_is_to_live_however_long_an_outage_lasts(vitals: Vitals, clock: Clock) -> None:
    for _ in range(100):
        vitals.pick_up("patient")
        live(vitals, clock, seconds=9)

    assert vitals.complaint() is None


def test_a_revived_worker_has_its_whole_time_again(vitals: Vitals, clock: Clock) -> None:
    vitals.pick_up("in hand")
    clock.now += 100
    vitals.revive()

    assert vitals.complaint() is None


def test_a_broker_answers_when_any_of_its_addresses_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert answers(f"127.0.0.1:1, 127.0.0.1:{port}")
    assert not answers("127.0.0.1:1")


def ended(program: str, *, within_s: float = 30) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=within_s, check=False)


def test_a_blocked_process_ends_itself_with_its_code_and_one_line_that_says_where_it_hangs() -> None:
    code = (
        "import asyncio, logging, time; from dataharvest.watchdog import Vitals, Watchdog\n"
        "logging.basicConfig(format='%(message)s %(reason)s %(at_line)s')\n"
        "Watchdog(Vitals(0.2), broker='127.0.0.1:1', loop=asyncio.new_event_loop()).start()\n"
        "time.sleep(60)\n"
    )

    done = ended(code)

    assert done.returncode == EXIT_STUCK
    assert done.stderr == "worker is stuck and ends itself the event loop is blocked <string>:4\n"


def test_a_process_whose_log_hangs_is_ended_all_the_same() -> None:
    code = (
        "import asyncio, logging, time; from dataharvest.watchdog import Vitals, Watchdog\n"
        "class Hanging(logging.Handler):\n"
        "    def emit(self, record): time.sleep(60)\n"
        "logging.getLogger().addHandler(Hanging())\n"
        "Watchdog(Vitals(0.2), broker='127.0.0.1:1', loop=asyncio.new_event_loop()).start()\n"
        "logging.getLogger().error('never written')\n"
    )

    done = ended(code)

    assert done.returncode == EXIT_STUCK


@pytest.mark.parametrize("is_hanging", [True, False])
def test_a_worker_that_was_asked_to_end_does_so_within_its_time_or_is_ended(is_hanging: bool) -> None:
    program = (
        "import asyncio, time\n"
        "from dataharvest.watchdog import Vitals, Watchdog\n"
        "dog = Watchdog(Vitals(900), broker='127.0.0.1:1', loop=asyncio.new_event_loop())\n"
        "dog.start()\n"
        "dog.expect_end(within_s=0.5)\n"
        f"dog.stop() if not {is_hanging} else None\n"
        "time.sleep(4)\n"
    )
    done = ended(program, within_s=60)

    assert done.returncode == (EXIT_STUCK if is_hanging else 0)
    assert ("worker is stuck and ends itself" in done.stderr) == is_hanging
