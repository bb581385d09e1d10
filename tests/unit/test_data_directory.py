"""Every worker has a table folder of its own, and the same again after a restart."""

import subprocess
import sys
from pathlib import Path

from dataharvest.data_directory import claim_data_directory

CLAIM = """
import sys
from pathlib import Path
from dataharvest.data_directory import claim_data_directory
print(claim_data_directory(Path(sys.argv[1])).name, flush=True)
sys.stdin.read()
"""


def claiming(parent: Path) -> "subprocess.Popen[str]":
    """A process that has a folder until its input ends."""
    command = [sys.executable, "-c", CLAIM, str(parent)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def claimed_by(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_workers_that_run_at_once_share_no_folder(tmp_path: Path) -> None:
    names = [claim_data_directory(tmp_path / "tables").name for _ in range(3)]
    assert names == ["worker-0", "worker-1", "worker-2"]


def test_a_killed_worker_s_folder_goes_to_the_next_with_what_is_in_it(tmp_path: Path) -> None:
    with claiming(tmp_path) as first, claiming(tmp_path) as second:
        assert sorted([claimed_by(first), claimed_by(second)]) == ["worker-0", "worker-1"]
        (tmp_path / "worker-0" / "table").touch()
        (tmp_path / "worker-1" / "table").touch()
        first.kill()
        first.wait()
        with claiming(tmp_path) as successor:
            assert (tmp_path / claimed_by(successor) / "table").exists()
        second.communicate("")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["worker-0", "worker-1"]
