"""P2: one transactions file against other loaders: dlt with Arrow batches, dlt as in its tutorial, pgloader.

``python -m benchmarks.p2 [--rows 3000000] [--rounds 3] [--without dlt ...]`` prints one line and writes
``benchmarks/results/p2.json``. dlt is installed from PyPI into ``build/dlt``; pgloader has to be on the path (Debian has it).
Ours counts from the end of the upload to every row checked and committed; the others from the start of their program to its end.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from shutil import which

from benchmarks.fairness import median
from benchmarks.generator import Oracle, write_transactions
from benchmarks.loads import load, make_table, require_all, rows_of, warm_up
from benchmarks.site import Site, fresh_site, keep_result

_BUILD = Path(__file__).parent.parent / "build"
_DLT = ("dlt[postgres]==1.31.0", "pyarrow")
_PGLOADER = """\
LOAD CSV FROM '{path}' HAVING FIELDS (record_id, account_number, transaction_reference, amount, keyword)
  INTO {url}?tablename=peer
  TARGET COLUMNS (record_id, account_number, transaction_reference, amount, keyword)
  WITH skip header = 1, fields terminated by ',';
"""

Peer = Callable[[Site, Path], float]


def main() -> int:
    """Run the rounds; 1 when a load was wrong, 2 when a peer can't be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--without", nargs="+", choices=sorted(PEERS), default=[])
    options = parser.parse_args()
    peers = {name: peer for name, peer in PEERS.items() if name not in options.without}
    if "pgloader" in peers and which("pgloader") is None:
        print("P2 FAIL: pgloader is not installed (apt-get install pgloader), or leave it out: --without pgloader")
        return 2
    if peers.keys() - {"pgloader"}:
        _install_dlt()
    with fresh_site() as (site, folder), site.workers(2):
        path = folder / "transactions.csv"
        oracle = write_transactions(path, rows=options.rows)
        warm_up(site, folder)
        rounds = [_round(site, path, oracle, peers, number) for number in range(options.rounds)]
    return _report(rounds, rows=options.rows)


def _round(site: Site, path: Path, oracle: Oracle, peers: dict[str, Peer], number: int) -> dict[str, float]:
    seconds = {"ours": load(site, path, tenant=f"bench{number}").stored_s}
    require_all(site, oracle, rows_of(f"bench{number}"), name="P2")
    for name, peer in peers.items():
        seconds[name] = peer(site, path)
        require_all(site, oracle, "peer" if name == "pgloader" else "peer_dlt.transactions", name=f"P2 {name}")
    return seconds


def _dlt(kind: str) -> Peer:
    def run(site: Site, path: Path) -> float:
        site.psql("DROP SCHEMA IF EXISTS peer_dlt CASCADE")
        words = [str(_BUILD / "dlt/bin/python"), str(Path(__file__).parent / "peers/dlt_load.py"), kind, str(path), _url(site)]
        # What dlt remembers of earlier runs must not be found.
        home = path.parent / f"dlt-{kind}-{time.monotonic_ns()}"
        return _seconds_of(words, **{"DLT_DATA_DIR": str(home), "RUNTIME__DLTHUB_TELEMETRY": "false"})

    return run


def _pgloader(site: Site, path: Path) -> float:
    make_table(site, "peer")
    command = path.with_suffix(".load")
    command.write_text(_PGLOADER.format(path=path, url=_url(site)), encoding="ascii")
    return _seconds_of(["pgloader", "--root-dir", str(path.parent / "pgloader"), str(command)])


PEERS: dict[str, Peer] = {"dlt_arrow": _dlt("arrow"), "dlt": _dlt("rows"), "pgloader": _pgloader}


def _url(site: Site) -> str:
    return site.stack.environment()["DATAHARVEST_DATABASE_URL"]


def _install_dlt() -> None:
    if not (_BUILD / "dlt/bin/dlt").exists():
        subprocess.run([sys.executable, "-m", "venv", str(_BUILD / "dlt")], check=True)
        subprocess.run([str(_BUILD / "dlt/bin/pip"), "install", "--quiet", *_DLT], check=True)


def _seconds_of(words: list[str], **environment: str) -> float:
    started = time.perf_counter()
    subprocess.run(words, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _report(rounds: list[dict[str, float]], *, rows: int) -> int:
    ratios = {name: median([one[name] / one["ours"] for one in rounds]) for name in rounds[0] if name != "ours"}
    seconds = ", ".join(f"{name} {median([one[name] for one in rounds]):.1f} s" for name in rounds[0])
    print(f"P2 {' '.join(f'{name}={one:.1f}' for name, one in ratios.items())} ({seconds}, rows {rows:,}, rounds {len(rounds)})")
    keep_result("p2", {"id": "P2", "rows": rows, "ratios": ratios, "seconds": rounds})
    return 0


if __name__ == "__main__":
    sys.exit(main())
