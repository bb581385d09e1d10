"""Every file of the hostile corpus ends as it should, in little time and memory, whatever its length."""

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from dataharvest.contracts import DEFAULT
from dataharvest.deliveries import Lease
from dataharvest.errors import Rejected
from dataharvest.objects import ObjectVersion
from dataharvest.stages.persist import check
from dataharvest.stages.split import Reading, chunk_metadata
from tests.hostile import FOLDER, Hostile, corpus

SHORT_S, LONG_S = 5.0, 60.0
LARGEST_RSS_BYTES = 400 << 20
CHUNK_BYTES = 1 << 20
SHORT = [one for one in corpus() if not one.is_long]
LONG = [one for one in corpus() if one.is_long]


class Objects:
    """A bucket with one object, which is never whole in memory."""

    def __init__(self, one: Hostile) -> None:
        self._one = one

    async def read(self, version: ObjectVersion) -> AsyncIterator[bytes]:
        for piece in self._one.pieces():
            yield piece


def lease_of(one: Hostile, *, chunk_bytes: int) -> Lease:
    source = ObjectVersion(
        bucket="bucket",
        key=f"t/{one.entity}_20261123{one.endings}",
        version_id=None,
        etag='"e"',
        last_modified=datetime(2026, 11, 23, tzinfo=UTC),
        size_bytes=1,
    )
    return Lease(
        delivery_id=1,
        epoch=1,
        tenant="t",
        business_date=date(2026, 11, 23),
        entity=one.entity,
        source=source,
        chunk_bytes=chunk_bytes,
        splitter_version=0,
    )


async def outcome_of(one: Hostile, *, chunk_bytes: int = CHUNK_BYTES) -> tuple[int, dict[str, int], str]:
    """Rows stored, records quarantined by rule, and the rule of the rejection, as split and persist make them."""
    lease = lease_of(one, chunk_bytes=chunk_bytes)
    reading = Reading(lease, Objects(one), DEFAULT, max_content_bytes=1 << 40)  # type: ignore[arg-type]
    rows, quarantined = 0, Counter[str]()
    try:
        async for piece in reading.pieces():
            checked = check(chunk_metadata(lease, piece, reading.header, DEFAULT), piece.data)
            rows += checked.persisted_count
            quarantined.update(record.rule for record in checked.quarantined)
    except Rejected as reason:
        return 0, {}, reason.rule
    return rows, dict(quarantined), ""


def assert_expected(one: Hostile, found: tuple[int, dict[str, int], str]) -> None:
    assert found == (one.rows, one.quarantined, one.rejected), one.why


@pytest.mark.parametrize("one", SHORT, ids=lambda one: one.name)
async def test_a_hostile_file_ends_as_it_should_however_it_is_cut(one: Hostile) -> None:
    started = time.process_time()

    for chunk_bytes in (1, 7, CHUNK_BYTES):
        assert_expected(one, await outcome_of(one, chunk_bytes=chunk_bytes))

    assert time.process_time() - started < SHORT_S


@pytest.mark.parametrize("one", LONG, ids=lambda one: one.name)
def test_a_file_of_any_length_ends_as_it_should_within_a_minute_and_bounded_memory(one: Hostile) -> None:
    # In a process of its own: only there the most memory ever used is this file's.
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.test_hostile", one.name], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) < LARGEST_RSS_BYTES
    assert time.monotonic() - started < LONG_S


def test_every_file_has_an_expectation_and_every_expectation_a_file() -> None:
    files = {path.name for path in FOLDER.iterdir()} - {"expected.yaml"}

    assert files == {one.name for one in SHORT}
    assert len(corpus()) >= 60


if __name__ == "__main__":
    import asyncio

    [named] = [one for one in corpus() if one.name == sys.argv[1]]
    assert_expected(named, asyncio.run(outcome_of(named)))
    # Not `ru_maxrss`: a process begins with that of the one that started it, here of everything that pytest has in memory.
    [peak] = re.findall(r"^VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    print(int(peak) * 1024)
