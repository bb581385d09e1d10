"""All SQL of the program: named queries, one file per subject, and the migrations."""

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
MIGRATIONS = _FOLDER / "migrations"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries(subject: str) -> dict[str, str]:
    """The queries of ``<subject>.sql`` by name; each begins with a line ``-- name: …``."""
    parts = _NAME.split((_FOLDER / f"{subject}.sql").read_text(encoding="utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def migration_statements(name: str) -> list[str]:
    """Statements of one migration; each ends with a semicolon at the end of a line."""
    text = (MIGRATIONS / name).read_text(encoding="utf-8")
    return [statement for part in text.split(";\n") if (statement := part.strip())]
