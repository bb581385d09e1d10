"""Which repaired records become rows where natural keys are shared."""

from typing import Any

import pytest

from dataharvest.rules.repairs import Candidate, Judged, Place, judge


def candidate(number: int, key: str, *, chunk: int = 0, position: int | None = None) -> Candidate:
    place = Place(chunk, number if position is None else position)
    return Candidate(quarantine_id=number, place=place, line=number + 2, natural_key=key, row=key.encode() + b"\n")


A, B, OTHER_A = candidate(1, "a"), candidate(2, "b"), candidate(3, "a")


def judged(*candidates: Candidate, rule: Any = "reject", **rows: Place) -> Judged:
    return judge(candidates, rule=rule, rows=rows, column="reference")


def test_records_that_share_nothing_become_rows_under_any_rule() -> None:
    for rule in ("reject", "first_wins", "last_wins"):
        found = judged(A, B, rule=rule)
        assert (found.kept, list(found.dropped), found.refused, found.replaced) == ([A, B], [], {}, {})


def test_where_duplicates_are_rejected_no_copy_becomes_a_row_and_each_says_why() -> None:
    found = judged(A, B, OTHER_A)
    assert found.kept == [B]
    assert found.refused == {
        1: "it has the same reference as the record of line 5",
        3: "it has the same reference as the record of line 3",
    }
    assert judged(A, a=Place(9, 9)).refused == {1: "another record of this file with the same reference is stored already"}


def test_an_entry_of_several_records_stays_whole() -> None:
    tail = [candidate(1, "x", position=0), candidate(1, "a", position=1)]
    found = judged(*tail, B, a=Place(0, 0))
    assert (found.kept, list(found.refused)) == ([B], [1])


@pytest.mark.parametrize(
    ("rule", "row", "kept", "dropped", "replaced"),
    [
        ("first_wins", None, [A], [OTHER_A], {}),
        ("last_wins", None, [OTHER_A], [A], {}),
        ("first_wins", Place(0, 0), [], [A, OTHER_A], {}),
        ("first_wins", Place(0, 2), [A], [OTHER_A], {"a": Place(0, 2)}),
        ("last_wins", Place(0, 2), [OTHER_A], [A], {"a": Place(0, 2)}),
        ("last_wins", Place(1, 0), [], [A, OTHER_A], {}),
    ],
)
def test_the_first_or_the_last_of_the_file_counts_row_or_not(
    rule: str, row: Place | None, kept: list[Candidate], dropped: list[Candidate], replaced: dict[str, Place]
) -> None:
    rows = {} if row is None else {"a": row}
    assert judged(OTHER_A, A, rule=rule, **rows) == Judged(kept=kept, dropped=_in_given_order(dropped), replaced=replaced)


def _in_given_order(dropped: list[Candidate]) -> list[Candidate]:
    return sorted(dropped, key=lambda one: -one.quarantine_id)
