"""Every state that a set can be in has a sentence that names what is in the way, and a command that can be typed."""

import shlex
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import click
import pytest

from dataharvest.rules.causes import Cause
from dataharvest.rules.standing import State, standing
from dataharvest.rules.versions import ACCEPTING, SetView
from dataharvest.status import Counts, ManifestStatus, Orphans, RuleStatus, SetStatus
from dataharvest.why import why
from tests.unit.test_harvest_verdict import NOW, delivery, quarantine
from tests.unit.test_status_standing import ENTITIES, PERSISTED, RULES, both, version
from tests.unit.test_status_standing import delivery as view_of_delivery

DAY = date(2024, 3, 28)
FILE = "t/accounts_20240328.csv"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A set, what its sentence must name, and the command that it must give."""

    state: State
    names: tuple[str, ...]
    command: str
    fields: dict[str, Any] = field(default_factory=dict)

    def status(self, cause: Cause) -> SetStatus:
        values: dict[str, Any] = {
            "tenant": "t", "business_date": DAY, "state": self.state, "version": 1, "published_at": None, "waits_for": [],
            "reason": "so it is.", "counts": Counts(), "warnings": [], "orphans": [], "rules": [], "deliveries": [],
        }  # fmt: skip
        return SetStatus(**{**values, **self.fields, "cause": cause})


def moving(state: str, **fields: Any) -> dict[str, Any]:
    return {"deliveries": [delivery(1, state, file=FILE, completed_at=None, **fields)]}


MISSING = {"missing_files": {"clients": "t/clients_20240328.csv"}}
UPLOAD, WATCH = "dataharvest harvest FOLDER --tenant t", "dataharvest status --tenant t --date 2024-03-28 --watch"
FIX = "dataharvest quarantine fix --edit --tenant t --date 2024-03-28 --reason WHY"
APPLY = "dataharvest contract apply FILE --tenant t"
RECONCILE = "dataharvest reconcile --tenant t --date 2024-03-28"
FORBIDDEN = {"failure": {"message": "403: no right to read it"}, "next_try_at": NOW}
SHORT = {"failure": {"rule": "conservation", "message": "7 records read, 6 accounted for"}}
REFUSED = {"rule": "missing_column", "line": 1, "column": "currency", "message": "There is no currency."}
REJECTED = {"deliveries": [delivery(2, "rejected", entity="clients", file="t/clients_20240328.csv", failure=REFUSED)]}
MANIFEST = ManifestStatus(manifest_id=1, file="t/manifest_20240328.json", state="read", failure=None, registered_at=NOW)
NO_JSON = MANIFEST.model_copy(update={"state": "rejected", "failure": {"message": "line 3 is no JSON"}})
DIFFERENCE = {"problem": {"message": "accounts: 7 records expected, 6 found"}, "manifests": [MANIFEST]}
ORPHAN = Orphans(kind="portfolios without a client", count=3, sample=["9e40659b"])
REPLAY = "dataharvest dead-letters replay"
DISCARDED = {
    "dead_letter_count": 1,
    "dead_letter_index": 1,
    "dead_letter_rule": "crashed_worker",
    "dead_letter_is_discarded": True,
    "dead_letter_names": ["chunks:3:17"],
}
THREE_CHUNKS = {
    "dead_letter_count": 3,
    "dead_letter_index": 4,
    "dead_letter_rule": "message",
    "dead_letter_names": ["chunks:3:17", "chunks:9:2", "chunks:1:8"],
}


def lost(rule: str, *names: str, **fields: Any) -> RuleStatus:
    letters = {"dead_letter_count": len(names), "dead_letter_rule": "crashed_worker", "dead_letter_names": list(names)}
    return RuleStatus(rule=rule, done=1, batch_count=2, **{**letters, **fields})


def computing(*rules: RuleStatus) -> dict[str, Any]:
    return {"waits_for": ["tax"], "rules": list(rules)}


HALF = [RuleStatus(rule="tax", done=1, batch_count=2)]

CASES: dict[Cause, list[Case]] = {
    Cause.RECORDS_UNACCOUNTED: [
        Case(state=State.BLOCKED, names=(FILE, "6 accounted for"), command=RECONCILE, fields=moving("judging", **SHORT))
    ],
    Cause.DELIVERY_MOVES: [
        Case(state=State.LOADING, names=(FILE, "nobody reads it yet"), command=WATCH, fields=moving("registered")),
        Case(
            state=State.LOADING,
            names=(FILE, "t is paused (holiday)"),
            command="dataharvest tenant resume t",
            fields={**moving("splitting"), "pause_reason": "holiday"},
        ),
        Case(state=State.LOADING, names=(FILE, "403", "00:00:00 UTC"), command=UPLOAD, fields=moving("waiting", **FORBIDDEN)),
        Case(
            state=State.LOADING,
            names=(FILE, "chunk 1", "was dead-lettered by rule crashed_worker and discarded"),
            command=UPLOAD,
            fields=moving("sealed", **DISCARDED),
        ),
        Case(
            state=State.LOADING,
            names=(FILE, "1 of 2 chunks are stored", "can't be read again: 412: replaced"),
            command=UPLOAD,
            fields=moving("sealed", chunk_count=2, stored_chunk_count=1, failure={"message": "412: replaced"}),
        ),
        Case(
            state=State.LOADING,
            names=(FILE, "3 chunks are stored", "chunk 2 is next", "t/clients_20240328.csv has not arrived"),
            command=WATCH,
            fields={**moving("splitting", stored_chunk_count=3, chunk_count=None, first_missing_chunk=2), **MISSING},
        ),
        Case(
            state=State.LOADING,
            names=(FILE, "6 of 7 chunks", "chunk 5 is the first that is missing"),
            command=WATCH,
            fields=moving("sealed", stored_chunk_count=6, chunk_count=7, first_missing_chunk=5),
        ),
        Case(state=State.LOADING, names=(FILE, "duplicates are being counted"), command=WATCH, fields=moving("judging")),
        Case(
            state=State.LOADING,
            names=(FILE, "its judgement waits for the object", "403"),
            command=WATCH,
            fields=moving("judging", failure={"rule": "object_forbidden", "message": "403: no right to read it"}),
        ),
        Case(
            state=State.LOADING,
            names=(FILE, "chunk 4 and 2 more", "dead-lettered by rule message"),
            command=f"{REPLAY} chunks:3:17 chunks:9:2 chunks:1:8",
            fields=moving("sealed", **THREE_CHUNKS),
        ),
        Case(
            state=State.LOADING,
            names=(FILE, "the judgement of", "dead-lettered"),
            command=f"{REPLAY} work:2:5",
            fields=moving("judging", dead_letter_count=1, dead_letter_rule="crashed_worker", dead_letter_names=["work:2:5"]),
        ),
        Case(
            state=State.LOADING,
            names=(FILE, "its contract can't be read", "orders"),
            command=APPLY,
            fields=moving("registered", contract_trouble="Contract version 3 names orders"),
        ),
    ],
    Cause.QUARANTINE: [
        Case(
            state=State.BLOCKED,
            names=(FILE, "line 2, column amount", "rule money", "2 more records"),
            command=FIX,
            fields={
                "deliveries": [delivery(1, "complete", file=FILE, **quarantine(3, shown=1))],
                "waits_for": ["quarantine of accounts"],
            },
        ),
        Case(
            state=State.BLOCKED,
            names=(f"3 of {FILE} are in quarantine",),
            command=FIX,
            fields={
                "deliveries": [delivery(1, "complete", file=FILE, **quarantine(3, shown=0))],
                "waits_for": ["quarantine of accounts"],
            },
        ),
    ],
    Cause.FILE_MISSING: [
        Case(state=State.INCOMPLETE, names=("t/clients_20240328.csv has not arrived",), command=UPLOAD, fields=MISSING),
        Case(
            state=State.INCOMPLETE,
            names=("t/clients_20240328.csv, line 1, column currency", "missing_column", "There is no currency"),
            command=UPLOAD,
            fields={**REJECTED, **MISSING},
        ),
    ],
    Cause.VERSION_DUE: [Case(state=State.READY, names=("version 2 is about to be made",), command=WATCH)],
    Cause.MANIFEST_MISSING: [
        Case(state=State.INCOMPLETE, names=("t/manifest_20240328.json has not arrived",), command=UPLOAD),
        Case(
            state=State.INCOMPLETE,
            names=("t/manifest_20240328.json can't be used", "line 3"),
            command=UPLOAD,
            fields={"manifests": [NO_JSON]},
        ),
    ],
    Cause.CONTROL_TOTALS: [
        Case(
            state=State.BLOCKED,
            names=("the manifest names orders",),
            command=UPLOAD,
            fields={"problem": {"rule": "stored_manifest", "message": "the manifest names orders"}},
        ),
        Case(state=State.BLOCKED, names=("t/manifest_20240328.json", "7 records expected"), command=RECONCILE, fields=DIFFERENCE),
    ],
    Cause.CONTROL_TOTALS_DISPUTED: [
        Case(
            state=State.DISPUTED,
            names=("t/manifest_20240328.json", "7 records expected", "version 1 stands"),
            command=RECONCILE,
            fields=DIFFERENCE,
        ),
    ],
    Cause.CONTRACT_UNREADABLE: [
        Case(
            state=State.BLOCKED,
            names=("Contract version 3 of t",),
            command=APPLY,
            fields={"problem": {"rule": "contract", "message": "Contract version 3 of t names orders"}},
        ),
    ],
    Cause.VERSION_BLOCKED: [
        Case(
            state=State.BLOCKED,
            names=("ersion 1", "3 portfolios without a client", "9e40659b"),
            command=UPLOAD,
            fields={"reason": "version 1 is blocked by orphans: 3 portfolios without a client.", "orphans": [ORPHAN]},
        ),
    ],
    Cause.RELATING: [
        Case(state=State.READY, names=("relationship", "version 1"), command=WATCH, fields={"waits_for": ["relationship"]})
    ],
    Cause.COMPUTING: [
        Case(
            state=State.TRANSFORMING,
            names=("Version 1 waits for tax", "tax 1 of 2"),
            command=WATCH,
            fields={"waits_for": ["tax"], "rules": HALF},
        ),
        Case(
            state=State.TRANSFORMING,
            names=("Version 1 waits for tax", "1 batch of tax was dead-lettered (crashed_worker)"),
            command=f"{REPLAY} work:2:5",
            fields=computing(lost("tax", "work:2:5")),
        ),
        Case(
            state=State.TRANSFORMING,
            names=("Version 1 waits for tax", "1 batch of tax was dead-lettered (crashed_worker) and discarded"),
            command=f"{REPLAY} work:2:5",
            fields=computing(lost("tax", "work:2:5", dead_letter_is_discarded=True)),
        ),
        Case(
            state=State.TRANSFORMING,
            names=("1 batch of transactions was", "1 batch of tax was dead-lettered (crashed_worker) and discarded"),
            command=f"{REPLAY} work:7:1",
            fields=computing(lost("tax", "work:2:5", dead_letter_is_discarded=True), lost("transactions", "work:7:1")),
        ),
    ],
    Cause.OLDER_VERSION_GOES_OUT: [
        Case(
            state=State.TRANSFORMING,
            names=("Version 1", "before version 2"),
            command=WATCH,
            fields={"waits_for": ["version 1"], "version": 2},
        )
    ],
    Cause.ABOUT_TO_GO_OUT: [
        Case(state=State.TRANSFORMING, names=("outbound.clients",), command=WATCH, fields={"waits_for": ["outbound.clients"]})
    ],
    Cause.GOING_OUT: [
        Case(state=State.PUBLISHING, names=("outbound.clients",), command=WATCH, fields={"waits_for": ["outbound.clients"]})
    ],
    Cause.NOTHING: [Case(state=State.PUBLISHED, names=("Version 1 is published",), command=RECONCILE)],
}
every_case = pytest.mark.parametrize(
    ("cause", "case"),
    [pytest.param(cause, case, id=f"{cause}: {case.names[-1]}") for cause, cases in CASES.items() for case in cases],
)


@every_case
def test_the_sentence_names_what_is_in_the_way_and_the_command_repairs_it(cause: Cause, case: Case) -> None:
    found = why(case.status(cause), worker_count=1)

    assert [name for name in case.names if name not in found.sentence] == []
    assert found.command == case.command
    assert found.sentence.endswith(".")
    assert found.sentence.count("\n") == 0
    assert found.remedy


@every_case
def test_the_command_is_one_of_the_programs_with_options_that_it_knows(cause: Cause, case: Case) -> None:
    from faust.cli.faust import cli

    from dataharvest.cli import register_commands

    register_commands()
    program, *words = shlex.split(why(case.status(cause), worker_count=1).command)
    group: click.Command = cli
    while isinstance(group, click.Group):
        group = group.commands[words.pop(0)]
    with_folder = [{"FOLDER": "tests", "FILE": __file__}.get(word, word) for word in words]
    assert program == "dataharvest"
    group.make_context("it", with_folder)


@every_case
def test_what_only_a_person_knows_is_said_of_every_word_in_capitals(cause: Cause, case: Case) -> None:
    found = why(case.status(cause), worker_count=1)

    assert {word for word in shlex.split(found.command) if word.isupper()} == set(found.placeholders)


def test_a_folder_is_said_to_hold_the_files_that_are_missing() -> None:
    case = Case(state=State.INCOMPLETE, names=(), command="", fields=MISSING)

    assert why(case.status(Cause.FILE_MISSING), worker_count=1).placeholders == {
        "FOLDER": "a folder with clients_20240328.csv in it"
    }


def test_every_cause_and_every_state_is_walked() -> None:
    assert set(CASES) == set(Cause)
    assert {case.state for cases in CASES.values() for case in cases} == set(State)
    walked = {one.state for case in CASES[Cause.DELIVERY_MOVES] for one in case.status(Cause.DELIVERY_MOVES).deliveries}
    assert walked == ACCEPTING | {"judging"}


BY_ITSELF = [cause for cause, cases in CASES.items() if any(case.command == WATCH for case in cases)]


@pytest.mark.parametrize("cause", BY_ITSELF)
def test_what_goes_on_by_itself_says_so_when_no_worker_is_there_to_do_it(cause: Cause) -> None:
    found = why(next(case for case in CASES[cause] if case.command == WATCH).status(cause), worker_count=0)

    assert found.sentence.endswith("No worker is running.")
    assert found.command == "dataharvest worker"


def test_what_somebody_has_to_repair_does_not_ask_for_a_worker() -> None:
    case = CASES[Cause.CONTROL_TOTALS][-1]

    assert why(case.status(Cause.CONTROL_TOTALS), worker_count=0).command == RECONCILE


def test_a_command_names_so_many_letters_and_says_that_there_are_more() -> None:
    letters = [f"work:0:{offset}" for offset in range(20)]
    fields = computing(lost("tax", *letters, dead_letter_count=35), lost("transactions", "work:7:1"))

    found = why(Case(state=State.TRANSFORMING, names=(), command="", fields=fields).status(Cause.COMPUTING), worker_count=1)

    assert shlex.split(found.command) == ["dataharvest", "dead-letters", "replay", *letters]
    assert found.remedy.endswith("These are the first 20 of 36: ask again afterwards.")


def test_letters_that_somebody_has_discarded_are_left_to_a_corrected_file_while_others_are_open() -> None:
    deliveries = [
        delivery(1, "sealed", file=FILE, completed_at=None, **DISCARDED),
        delivery(2, "sealed", file="t/clients_20240328.csv", completed_at=None, **THREE_CHUNKS),
    ]
    both_lost = Case(state=State.LOADING, names=(), command="", fields={"deliveries": deliveries})
    discarded = Case(state=State.LOADING, names=(), command="", fields={"deliveries": deliveries[:1]})

    assert why(both_lost.status(Cause.DELIVERY_MOVES), worker_count=1).command == f"{REPLAY} chunks:3:17 chunks:9:2 chunks:1:8"
    assert f"sent again, `{REPLAY} chunks:3:17`" in why(discarded.status(Cause.DELIVERY_MOVES), worker_count=1).remedy


def test_a_file_name_that_would_turn_the_line_around_is_written_out() -> None:
    fields = moving("registered")
    fields["deliveries"][0] = fields["deliveries"][0].model_copy(update={"file": "t/\u202evsc\x1b[2J_20240328.csv"})

    found = why(Case(state=State.LOADING, names=(), command="", fields=fields).status(Cause.DELIVERY_MOVES), worker_count=1)

    assert "t/\\u202evsc\\x1b[2J_20240328.csv" in found.sentence


def test_many_files_are_counted_rather_than_named() -> None:
    keys = {f"entity{number}": f"t/entity{number}_20240328.csv" for number in range(9)}
    case = Case(state=State.INCOMPLETE, names=(), command="", fields={"missing_files": keys})

    assert why(case.status(Cause.FILE_MISSING), worker_count=1).sentence.endswith("has not arrived; and 5 more.")


ABOUT = {entity: number for number, entity in enumerate(ENTITIES, start=1)}
RELATED, VALUED = PERSISTED | {"relation_established"}, PERSISTED | {"relation_established", "tax"}
REACHED: dict[Cause, tuple[SetView, dict[str, Any]]] = {
    Cause.FILE_MISSING: (SetView(deliveries=(), versions=()), {}),
    Cause.DELIVERY_MOVES: (SetView(deliveries=(view_of_delivery(1, "accounts", "sealed"),), versions=()), {}),
    Cause.QUARANTINE: (SetView(deliveries=(view_of_delivery(1, "accounts", quarantine=1),), versions=()), {}),
    Cause.VERSION_DUE: (SetView(deliveries=both(), versions=()), {}),
    Cause.RELATING: (SetView(deliveries=both(), versions=(version(),)), {}),
    Cause.COMPUTING: (SetView(deliveries=both(), versions=(version(facts=RELATED),)), {}),
    Cause.ABOUT_TO_GO_OUT: (SetView(deliveries=both(), versions=(version(facts=VALUED),)), {}),
    Cause.GOING_OUT: (SetView(deliveries=both(), versions=(version(facts=VALUED, announced="outbound.clients"),)), {}),
    Cause.OLDER_VERSION_GOES_OUT: (
        SetView(deliveries=both(), versions=(version(facts=VALUED, announced="outbound.clients"), version(2, facts=VALUED))),
        {},
    ),
    Cause.VERSION_BLOCKED: (SetView(deliveries=both(), versions=(version(state="blocked"),)), {}),
    Cause.NOTHING: (SetView(deliveries=both(), versions=(version(state="published"),)), {}),
    Cause.MANIFEST_MISSING: (SetView(deliveries=both(), versions=()), {"state": "waits", "deliveries": ABOUT}),
    Cause.CONTRACT_UNREADABLE: (
        SetView(deliveries=both(), versions=()),
        {"rule": "contract", "state": "blocked", "deliveries": ABOUT},
    ),
    Cause.CONTROL_TOTALS: (SetView(deliveries=both(), versions=()), {"state": "blocked", "deliveries": ABOUT}),
    Cause.CONTROL_TOTALS_DISPUTED: (
        SetView(deliveries=both(), versions=(version(state="published"),)),
        {"state": "disputed", "deliveries": ABOUT},
    ),
}


@pytest.mark.parametrize("cause", REACHED, ids=str)
def test_the_rule_comes_to_each_cause(cause: Cause) -> None:
    view, problem = REACHED[cause]

    found = standing(view, required=ENTITIES, rules=RULES, problem=problem or None)

    assert found.cause is cause
    assert found.state in {case.state for case in CASES[cause]}


def test_only_a_delivery_that_does_not_add_up_is_reached_elsewhere() -> None:
    assert set(Cause) - set(REACHED) == {Cause.RECORDS_UNACCOUNTED}
