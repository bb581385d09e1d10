"""What `dataharvest status` prints."""

from datetime import timedelta
from typing import Any

from rich.console import Console

from dataharvest.cli.status_tables import print_reasons, print_report
from dataharvest.rules.standing import State
from dataharvest.status import Counts, StatusReport, Why
from tests.unit.test_harvest_verdict import NOW, delivery, report

WHY = Why(sentence="t/a.csv, line 3 breaks rule money.", remedy="Correct it.", command="dataharvest harvest FOLDER --tenant t")


def printed(found: StatusReport, *, details: bool = False) -> str:
    console = Console(width=240, highlight=False, markup=False)
    with console.capture() as captured:
        print_report(console.print, found, details=details)
    return captured.get()


def one_line(**fields: Any) -> list[str]:
    lines = printed(report(State.BLOCKED, delivery(), **fields)).splitlines()
    return lines[1].split()


def test_a_set_is_a_line_of_the_table() -> None:
    assert one_line(stored_chunk_count=3, chunk_count=7) == ["t", "2024-03-28", "blocked", "1", "3/7", "0", "0", "–", "no"]


def test_chunks_that_nobody_has_counted_yet_are_a_question_mark() -> None:
    assert one_line(stored_chunk_count=3)[4] == "3/?"


def test_eta_and_lateness_are_in_the_tenants_zone() -> None:
    late = one_line(eta_at=NOW, late_at=NOW, zone="Asia/Tokyo")

    assert late[7:] == ["09:00:00", "late", "since", "2024-03-28", "09:00"]


def test_a_set_that_is_not_complete_says_when_it_is_or_was_due() -> None:
    assert one_line(version=None, due_at=NOW + timedelta(hours=1))[8:] == ["due", "2024-03-28", "01:00"]
    assert one_line(version=None, due_at=NOW - timedelta(hours=1))[8:10] == ["was", "due"]


def test_why_and_the_command_follow_for_what_is_not_published() -> None:
    shown = printed(report(State.BLOCKED, delivery(), why=WHY))

    assert "t 2024-03-28: blocked: t/a.csv, line 3 breaks rule money.\n  Correct it.\n  $ dataharvest harvest FOLDER" in shown
    assert "money" not in printed(report(State.PUBLISHED, delivery(), why=WHY))


def test_what_stands_in_capitals_is_explained_below_the_command() -> None:
    folder = WHY.model_copy(update={"placeholders": {"FOLDER": "a folder with a.csv in it"}})

    shown = printed(report(State.BLOCKED, delivery(), why=folder))

    assert "  $ dataharvest harvest FOLDER --tenant t\n    FOLDER: a folder with a.csv in it\n" in shown


def test_details_show_every_delivery_and_the_reason() -> None:
    shown = printed(report(State.BLOCKED, delivery(3, file="t/\u202eaccounts.csv"), why=WHY), details=True)

    assert "t/\\u202eaccounts.csv" in shown
    assert "why: t/a.csv, line 3" in shown


def test_of_many_sets_the_first_are_explained_and_the_others_counted() -> None:
    [one] = report(State.BLOCKED, delivery(), why=WHY).sets
    said: list[str] = []

    print_reasons(said.append, [one] * 25)

    assert sum("breaks rule money" in line for line in said) == 20
    assert said[-1] == "\n… and 5 more sets that are not published: `dataharvest status --why --limit 0` has them all"


def test_the_most_urgent_set_is_explained_first() -> None:
    [blocked] = report(State.BLOCKED, delivery(), why=WHY).sets
    others = [blocked.model_copy(update={"state": state, "tenant": "a"}) for state in (State.LOADING, State.INCOMPLETE)]
    said: list[str] = []

    print_reasons(said.append, [*others, blocked], limit=2)

    assert [line.split(": ")[1] for line in said if ": " in line and "\n" in line][:2] == ["blocked", "incomplete"]


def test_sets_beyond_the_limit_are_counted() -> None:
    found = report(State.BLOCKED, delivery(), why=WHY).model_copy(update={"set_count": 1_200, "unpublished_count": 300})

    assert " … and 1,199 more sets: `--limit 0` shows all" in printed(found)
    assert "\n… and 299 more sets that are not published" in printed(found)
    assert "more sets" not in printed(found.model_copy(update={"set_count": 1, "unpublished_count": 1}))


def test_without_anything_it_says_so() -> None:
    empty = StatusReport(at=NOW, sets=[], deliveries_without_set=[], dead_letter_count=0, dead_letters=[])

    assert printed(empty) == "nothing has arrived\n"


def test_rows_are_counted_while_a_file_is_being_stored() -> None:
    moving = delivery(1, "splitting", counts=Counts(read=7, persisted=7), completed_at=None)

    assert printed(report(State.LOADING, moving)).splitlines()[1].split()[5] == "7"
