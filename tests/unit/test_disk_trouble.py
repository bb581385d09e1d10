"""A full or broken disk is told from a bug, whoever reports it."""

import errno
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Options, Rdict

from dataharvest.disk_trouble import is_disk_trouble

FULL = OSError(errno.ENOSPC, "No space left on device")


def caused(error: Exception, cause: Exception) -> Exception:
    """The error, raised from the cause."""
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        OSError(errno.EROFS, "Read-only file system"),
        Exception("IO error: No space left on device: While appending to file: /data/000004.log: No space left on device"),
        Exception("No space left on device (os error 28)"),
        caused(RuntimeError("the table"), FULL),
    ],
)
def test_a_disk_that_is_full_or_broken_is_recognised(error: Exception) -> None:
    assert is_disk_trouble(error)


@pytest.mark.parametrize(
    "error",
    [ValueError("IO error: "), Exception("Invalid argument: IO error: "), ConnectionResetError(errno.ECONNRESET, "reset")],
)
def test_anything_else_is_not(error: Exception) -> None:
    assert not is_disk_trouble(error)


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files of this process can't grow beyond 64 KiB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_the_table_raises_when_it_cannot_be_written_is_recognised(tmp_path: Path, small_files: None) -> None:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    table = Rdict(str(tmp_path / "db"), options=options)

    with pytest.raises(Exception, match="IO error") as refused:
        for number in range(100):
            table.put(str(number).encode(), b"x" * 1_000)

    assert is_disk_trouble(refused.value)
