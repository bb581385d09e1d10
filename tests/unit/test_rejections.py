"""Every rule by which a worker rejects a message or a file has its name in one place."""

import ast
from collections.abc import Iterator
from pathlib import Path

import dataharvest
from dataharvest.rules.record_rules import RECORD_RULES
from dataharvest.rules.rejections import REJECTIONS, names_a_rejection

ROOT = Path(dataharvest.__file__).parent
ASKED_BY_PEOPLE = ("cli", "web", "replaying", "harvest", "stack")
"""What these refuse are commands and requests, not messages."""
REPAIRS = {"repair.py", "repair_report.py", "attempt.py", "read_repaired.py", "records_again.py", "look_at_record.py"}
OF_COMMANDS = {
    "repairs.py",
    "quarantine_csv.py",
    "contract_check.py",
    "record_text.py",
    "dead_letters.py",
    "memory_dead_letters.py",
}
OF_COMMANDS |= {"replay_ledger.py", "memory_replay_ledger.py", "kafka_offsets.py"}


def rejecting() -> Iterator[Path]:
    """Modules that a worker runs."""
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).parts[0] not in ASKED_BY_PEOPLE and path.name not in REPAIRS | OF_COMMANDS:
            yield path


def rules_in(path: Path) -> Iterator[str]:
    """The rules that calls in the module name as text."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith(("Rejected", "Trouble", "rejected")):
            for keyword in node.keywords:
                if keyword.arg == "rule" and isinstance(keyword.value, ast.Constant):
                    yield str(keyword.value.value)


def test_a_rule_that_rejects_has_its_name_in_the_list() -> None:
    found = {rule for path in rejecting() for rule in rules_in(path)}
    assert len(found) > 20
    missing = found - REJECTIONS - set(RECORD_RULES)
    assert not missing, f"add these to dataharvest/rules/rejections.py: {sorted(missing)}"


def test_the_list_names_nothing_that_is_gone() -> None:
    text = "".join(path.read_text() for path in ROOT.rglob("*.py") if path.name != "rejections.py")
    assert not {rule for rule in REJECTIONS if f'"{rule}"' not in text}


def test_what_postgresql_refuses_is_a_rule_too() -> None:
    assert names_a_rejection("sqlstate_22003")
    assert not names_a_rejection("sqlstate_")
    assert not names_a_rejection("nosuch")
