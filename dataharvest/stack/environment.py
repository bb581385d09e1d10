"""The file ``stack.env`` that tells every other command where the embedded services are."""

from collections.abc import Mapping
from pathlib import Path

from dataharvest.errors import Misconfigured
from dataharvest.stack.files import write_atomically


def write_environment(path: Path, variables: Mapping[str, str]) -> None:
    """Keep the variables, one ``NAME=value`` a line, readable by the owner alone."""
    write_atomically(path, "".join(f"{name}={value}\n" for name, value in sorted(variables.items())))


def read_environment(path: Path) -> dict[str, str]:
    """The variables in ``path``; comments and blank lines are left out.

    Raises:
        Misconfigured: there is no such file, because the stack was never up.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise Misconfigured(f"{path} is absent; run: dataharvest stack up") from error
    pairs = (line.partition("=") for line in lines if line.strip() and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}
