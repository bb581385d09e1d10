"""Files of the stack are whole or absent, and what was interrupted is never taken as done."""

import stat
import threading
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataharvest.errors import Misconfigured
from dataharvest.stack.cache import built_whole
from dataharvest.stack.environment import read_environment, write_environment
from dataharvest.stack.files import locked, write_atomically
from dataharvest.stack.home import StackHome
from dataharvest.stack.kafka_jars import remove_broken_downloads
from dataharvest.stack.processes import Identity

names = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@given(variables=st.dictionaries(names, values))
def test_the_environment_file_gives_back_what_was_written(
    variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "stack.env"

    write_environment(path, variables)

    assert read_environment(path) == variables


def test_the_environment_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    write_environment(tmp_path / "stack.env", {"SECRET": "x"})

    assert stat.S_IMODE((tmp_path / "stack.env").stat().st_mode) == 0o600


def test_comments_and_blank_lines_are_no_variables(tmp_path: Path) -> None:
    (tmp_path / "stack.env").write_text("# a comment\n\nNAME=a=b\n")

    assert read_environment(tmp_path / "stack.env") == {"NAME": "a=b"}


def test_without_an_environment_file_one_is_told_to_start_the_stack(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="dataharvest stack up"):
        read_environment(tmp_path / "stack.env")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "new \ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with locked(tmp_path / "lock", waiting=waits.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with locked(tmp_path / "lock"):
        thread.start()
        assert waits.wait(timeout=10)
        order.append("first")
    thread.join()

    assert order == ["first", "second"]


def test_an_interrupted_build_is_not_done_and_goes_on_from_where_it_was(tmp_path: Path) -> None:
    target = tmp_path / "tool"

    with pytest.raises(KeyboardInterrupt), built_whole(target) as partial:
        (partial / "half").write_text("1")
        raise KeyboardInterrupt
    assert not target.exists()

    with built_whole(target) as partial:
        assert (partial / "half").exists()
    assert (target / "half").read_text() == "1"


def test_half_downloaded_files_are_removed_and_whole_ones_kept(tmp_path: Path) -> None:
    whole, half = tmp_path / "a" / "whole.jar", tmp_path / "b" / "half.jar"
    for jar in (whole, half):
        jar.parent.mkdir()
        with zipfile.ZipFile(jar, "w") as archive:
            archive.writestr("Some.class", bytes(range(256)) * 100)
    half.write_bytes(half.read_bytes()[:500])
    (tmp_path / "whole.pom").write_text("<project/>")
    (tmp_path / "half.pom").write_text("<project><artif")

    remove_broken_downloads(tmp_path)

    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["whole.jar", "whole.pom"]


def test_a_stack_remembers_its_secrets_and_processes(tmp_path: Path) -> None:
    home = StackHome(tmp_path)
    secret = home.secret("postgres")
    home.record("kafka", Identity(17, "boot:1"))

    again = StackHome(tmp_path)

    assert again.secret("postgres") == secret
    assert again.recorded("kafka") == Identity(17, "boot:1")
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600


def test_a_forgotten_process_is_not_recorded(tmp_path: Path) -> None:
    home = StackHome(tmp_path)
    home.record("kafka", Identity(17, "boot:1"))

    home.record("kafka", None)

    assert home.recorded("kafka") is None
