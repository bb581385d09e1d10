"""A transformer with a planted error, corrected: exactly the wrong portfolios are published again."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.conftest import Command, RunWorkers
from tests.e2e.outside import Outside
from tests.e2e.sets import FileSet, latest, make_set, values_of

# Loaded by every Python that has this folder on its path; the error takes fees for deposits.
PLANT = """
import os

if os.environ.get("PLANTED_LOGIC"):
    from dataclasses import replace

    import polars as pl

    from dataharvest.transformers import sum_of_deposits as module

    real = module.sum_of_deposits

    def wrong(portfolios, transactions):
        return real.compute(portfolios, transactions.with_columns(pl.col("keyword").replace("FEE", "DEPOSIT")))

    logic_version = int(os.environ["PLANTED_LOGIC"])
    module.sum_of_deposits = replace(real, compute=wrong if logic_version == 1 else real.compute, logic_version=logic_version)
"""
WORDS = ("recompute", "--transformer", "sum_of_deposits", "--tenant", "planted", "--date", "2026-11-23")


@pytest.fixture
def plant(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "sitecustomize.py").write_text(PLANT, encoding="utf-8")
    return {"PYTHONPATH": str(tmp_path), "DATAHARVEST_SWEEP_INTERVAL_S": "86400"}


def wrong_portfolios(files: FileSet) -> set[str]:
    """Portfolios whose account has fees that come to something."""
    charged = {
        one["account_number"] for one in files.records("transactions") if one["keyword"] == "FEE" and Decimal(one["amount"])
    }
    return {one["portfolio_reference"] for one in files.records("portfolios") if one["account_number"] in charged}


async def test_exactly_the_wrong_portfolios_are_published_again(
    stack_environment: dict[str, str], running_workers: RunWorkers, dataharvest: Command, plant: dict[str, str]
) -> None:
    outside, files = Outside(stack_environment), make_set("planted", transactions=25)
    wrong = wrong_portfolios(files)
    assert 0 < len(wrong) < len(files.rows["portfolios"])
    with running_workers(1, PLANTED_LOGIC="1", **plant):
        await outside.put_set(files)
        await outside.published([files.tenant])
    [first] = (await outside.outbound(files.tenant)).values()
    published = values_of(first, of=files)
    right = files.outbound
    assert published["outbound.clients"] == right["outbound.clients"]
    portfolios = published["outbound.portfolios"]
    assert {one for one in portfolios if portfolios[one] != right["outbound.portfolios"][one]} == wrong

    plan = await asyncio.to_thread(dataharvest, *WORDS, "--plan", "--json", PLANTED_LOGIC="2", **plant)
    [row] = json.loads(plan.stdout)
    assert (set(row["changed"]), row["would_publish"]) == (wrong, {"outbound.portfolios": len(wrong)})
    assert (await outside.outbound(files.tenant))[files.tenant] == first

    with running_workers(1, PLANTED_LOGIC="2", **plant):
        done = await asyncio.to_thread(dataharvest, *WORDS, "--by", "anna", "--reason", "fees", PLANTED_LOGIC="2", **plant)
        assert done.returncode == 0, done.stderr
        assert "planted 2026-11-23: version 2 is being made" in done.stdout
        await outside.published([files.tenant], version=2)
        again = await asyncio.to_thread(dataharvest, *WORDS, PLANTED_LOGIC="2", **plant)
        assert "left as it is, computed by version 2 of the logic already" in again.stdout

    history = await asyncio.to_thread(dataharvest, "recompute", "--history", "--tenant", "planted")
    expected = "planted 2026-11-23: version 2, sum_of_deposits, version 2 of its logic, by anna: fees\n"
    assert history.stdout.endswith(expected), history.stdout + history.stderr

    [every] = (await outside.outbound(files.tenant)).values()
    fresh = [one for one in every if one not in first]
    assert {one.reference for one in fresh} == wrong
    assert {(one.topic, one.value["version"]) for one in fresh} == {("outbound.portfolios", 2)}
    assert latest(every) == right
    outside.s3.close()
