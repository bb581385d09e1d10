"""Turns: one thing's outage is nobody else's, a service's is everybody's."""

import pytest

from dataharvest.errors import Rejected, Unavailable
from dataharvest.stages.turns import OUTAGES_IN_A_ROW, each


class Service:
    """Doubles numbers, if it is there for them."""

    def __init__(self, *absent_for: int) -> None:
        self.absent_for = absent_for
        self.asked: list[int] = []

    async def double(self, number: int) -> int:
        self.asked.append(number)
        if number in self.absent_for:
            raise Unavailable(f"not there for {number}")
        return 2 * number


async def test_outcomes_come_in_order() -> None:
    assert await each(range(4), Service().double) == [0, 2, 4, 6]


async def test_all_have_their_turn_before_the_first_outage_is_told() -> None:
    service = Service(1, 3)
    with pytest.raises(Unavailable, match="not there for 1"):
        await each(range(5), service.double)
    assert service.asked == [0, 1, 2, 3, 4]


async def test_several_outages_in_a_row_end_it() -> None:
    service = Service(*range(2, 100))
    with pytest.raises(Unavailable):
        await each(range(100), service.double)
    assert service.asked == list(range(2 + OUTAGES_IN_A_ROW))


async def test_a_bug_is_no_outage() -> None:
    async def broken(_: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await each([1], broken)


async def test_what_is_refused_is_no_outage_and_takes_nobody_s_turn() -> None:
    asked: list[int] = []

    async def refuse(number: int) -> None:
        asked.append(number)
        raise Rejected(f"no {number}", rule="sqlstate_22P05")

    with pytest.raises(Rejected, match="no 0"):
        await each(range(9), refuse)
    assert asked == list(range(9))
