"""Metrics: each declared once with unit and meaning; nobody counts, alerts or documents what is not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from dataharvest import metrics
from dataharvest.metrics import METRICS, REGISTRY, exposition
from dataharvest.metrics_page import PAGE, metrics_page
from dataharvest.rules.standing import State

ROOT = Path(__file__).parents[2]
ALERTS = yaml.safe_load((ROOT / "docker/alerts.yaml").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
NAME = r"\b(?:dataharvest|process|python)_[a-z_]+\b"
SUFFIXES = ("_bucket", "_sum", "_count")
every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])


def declared_name(series: str) -> str:
    """The metric that a series belongs to; an AssertionError when none is declared, or its kind has no such series."""
    name = next((series.removesuffix(suffix) for suffix in SUFFIXES if series.endswith(suffix)), series)
    if series != name and name in METRICS:
        assert METRICS[name].kind == "histogram", series
        return name
    assert series in METRICS, f"{series} is not declared in dataharvest/metrics.py"
    return series


def selectors(expression: Any) -> Iterator[Any]:
    """Every selector of a PromQL expression."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "vector_selector", "vs"):
        if (part := getattr(expression, name, None)) is not None:
            yield from selectors(part)
    for part in getattr(expression, "args", None) or ():
        yield from selectors(part)


def test_every_metric_has_a_unit_a_meaning_and_a_name_that_shows_its_kind() -> None:
    for one in METRICS.values():
        assert one.name.startswith("dataharvest_")
        assert one.unit
        assert one.meaning.endswith(".")
        assert one.name.endswith("_total") == (one.kind == "counter")
        assert ("seconds" in one.unit) == one.name.endswith("_seconds")
        assert "tenant" not in one.labels


def test_what_is_served_is_what_is_declared() -> None:
    served = {family.name for family in REGISTRY.collect()}

    assert {name for name in served if not name.startswith("process_")} == {name.removesuffix("_total") for name in METRICS}


def test_metrics_are_made_in_one_module_only() -> None:
    makers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "dataharvest").rglob("*.py")
        if re.search(r"^\s*(?:from|import) prometheus_client", path.read_text("utf-8"), re.MULTILINE)
    }

    assert makers == {"dataharvest/metrics.py", "dataharvest/metrics_endpoint.py"}


def test_whatever_is_counted_is_declared() -> None:
    used = {
        name
        for path in (ROOT / "dataharvest").rglob("*.py")
        for name in re.findall(r"\bmetrics\.([A-Z][A-Z_]+)\b", path.read_text("utf-8"))
    }
    declared = {name for name in vars(metrics) if name.isupper() and name not in ("METRICS", "REGISTRY", "CONTENT_TYPE")}

    assert used == {name for name in declared if not name.startswith("_")}, "declared and not counted, or the other way round"


@every_rule
def test_an_alert_asks_for_metrics_and_labels_that_exist(rule: dict[str, Any]) -> None:
    found = list(selectors(promql.parse(rule["expr"])))

    assert len(found) == len(re.findall(NAME, rule["expr"])) > 0
    for selector in found:
        one = METRICS[declared_name(selector.name)]
        assert {matcher.name for matcher in selector.matchers.matchers} <= {*one.labels, "le"}
    labels = {label for name in re.findall(NAME, rule["expr"]) for label in METRICS[declared_name(name)].labels}
    grouped = {name for group in re.findall(r"\b(?:by|on) \(([^)]+)\)", rule["expr"]) for name in group.split(", ")}
    assert grouped <= {*labels, "le"}
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= labels


@every_rule
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert set(rule) - {"for"} == {"alert", "expr", "labels", "annotations"}
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert all(rule["annotations"][name] for name in ("summary", "action"))


def test_an_undeclared_name_is_noticed() -> None:
    with pytest.raises(AssertionError, match="not declared"):
        declared_name("dataharvest_unheard_of_total")
    with pytest.raises(AssertionError):
        declared_name("dataharvest_sets_bucket")


def test_states_in_alerts_are_states() -> None:
    named = {state for rule in RULES for state in re.findall(r'state="(\w+)"', rule["expr"])}

    assert named == {"blocked", "disputed"}
    assert named <= {state.value for state in State}


def test_the_page_is_current_and_names_no_other_metric() -> None:
    text = PAGE.read_text("utf-8")

    assert text == metrics_page(), "run `make docs`"
    for document in ROOT.glob("docs/**/*.md"):
        for name in re.findall(r"\bdataharvest_[a-z_]+_(?:seconds|total|bytes|messages)\b", document.read_text("utf-8")):
            declared_name(name)


def test_the_exposition_has_help_with_the_unit() -> None:
    text = exposition().decode()

    assert "# HELP dataharvest_lag_messages Messages of a topic that the workers have not finished. Unit: messages." in text
    assert "_created" not in text
