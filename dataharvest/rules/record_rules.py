"""The rules that a record can break: the names that quarantine, commands and documents know them by."""

from typing import Literal, get_args

RecordRule = Literal[
    "misaligned_tail",
    "stray_quote",
    "repeated_header",
    "too_few_fields",
    "too_many_fields",
    "encoding",
    "nul",
    "missing_value",
    "key",
    "money",
    "digits",
    "currency",
    "uuid",
    "duplicate",
]
"""Type of every rule of a record: a check that gives another name does not pass the type check."""

RECORD_RULES: tuple[str, ...] = get_args(RecordRule)
"""Their names; those on the form of a record first, then those on its cells."""
