"""What is typed wrongly after `dataharvest quarantine` is wrong usage, before anything is asked of a service."""

import pytest
from click.testing import CliRunner

from dataharvest.cli.quarantine import quarantine


@pytest.mark.parametrize("words", [("show",), ("fix", "--as-is", "--reason", "why"), ("accept", "--reason", "why"), ("replay",)])
@pytest.mark.parametrize("number", ["0", "9223372036854775808", "one"])
def test_a_number_that_no_entry_can_have_is_wrong_usage(words: tuple[str, ...], number: str) -> None:
    done = CliRunner().invoke(quarantine, [*words, number])
    assert done.exit_code == 2
    assert number in done.output
