r"""What the benchmarks of large files share: a file through everything, the same by \copy, and what both must have stored."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generator import Oracle, write_transactions
from benchmarks.site import Site
from dataharvest.entities import all_entities

DAY = "20260102"
_LONGEST_S = 7200.0


@dataclass(frozen=True)
class Loaded:
    """When a file was done, in seconds from the end of its upload."""

    stored_s: float
    """Every row is checked and committed."""
    judged_s: float
    """Duplicates and sums are judged: the file counts."""


def warm_up(site: Site, folder: Path) -> None:
    """Let a small file through, so that everything is awake."""
    small = folder / "small.csv"
    write_transactions(small, rows=1000, seed=2)
    load(site, small, tenant="warm")


def load(site: Site, path: Path, *, tenant: str) -> Loaded:
    """Upload a transactions file and wait until it counts."""
    site.upload(path, f"{tenant}/transactions_{DAY}.csv")
    started = time.time()
    done = f"EXISTS (SELECT FROM delivery WHERE tenant = '{tenant}' AND state = 'complete')"
    site.wait_for(done, timeout_s=_LONGEST_S)
    ended = site.psql(
        "SELECT extract(epoch FROM max(chunk.committed_at)), extract(epoch FROM max(completed_at)) "
        f"FROM chunk JOIN delivery USING (delivery_id) WHERE delivery.tenant = '{tenant}'"
    )
    stored, judged = (float(one) - started for one in ended.split("|"))
    return Loaded(stored, judged)


def rows_of(tenant: str) -> str:
    """Where a tenant's transactions are, for `require_all`."""
    return f"row_transactions JOIN delivery USING (delivery_id) WHERE tenant = '{tenant}'"


def make_table(site: Site, table: str, *, entity: str = "transactions") -> None:
    """A table of an entity's columns and no key, anew."""
    columns = ", ".join(f"{one.name} {one.kind.value}" for one in all_entities()[entity].columns)
    site.psql(f"DROP TABLE IF EXISTS {table}")
    site.psql(f"CREATE TABLE {table} ({columns})")


def copy_s(site: Site, path: Path, table: str) -> float:
    r"""How long \copy takes into an empty table whose columns are the file's."""
    with path.open(encoding="ascii") as file:
        columns = file.readline().strip()
    started = time.perf_counter()
    site.psql(f"\\copy {table} ({columns}) FROM '{path}' CSV HEADER")
    return time.perf_counter() - started


def require_all(site: Site, oracle: Oracle, source: str, *, name: str) -> None:
    """End with FAIL unless these rows are exactly the file's."""
    found = site.psql(f"SELECT count(*), sum(amount), sum(amount) FILTER (WHERE keyword = 'DEPOSIT') FROM {source}")
    wanted = f"{oracle.rows}|{oracle.amount:.4f}|{oracle.deposits:.4f}"
    if found != wanted:
        print(f"{name} FAIL: loaded {found}, the file holds {wanted}")
        sys.exit(1)
