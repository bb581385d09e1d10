"""What PostgreSQL copies out as CSV, as frames of text."""

from io import BytesIO

import polars as pl

_SMALL_BYTES = 32_768
"""So much is taken apart here in less time than polars needs to begin."""


def frame_of(data: bytes, columns: tuple[str, ...]) -> pl.DataFrame:
    """The rows of a ``COPY … TO STDOUT (FORMAT csv)``; a field without a character and without quotes is null."""
    if not data:
        return pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    if len(data) > _SMALL_BYTES or b'"' in data:
        return pl.read_csv(
            BytesIO(data), has_header=False, new_columns=list(columns), schema_overrides=[pl.String] * len(columns)
        )
    # Without quotes a comma parts fields and a line feed rows, and nothing else does: PostgreSQL quotes what holds either.
    rows = [line.split(",") for line in data.decode().split("\n")[:-1]]
    fields = zip(*rows, strict=True)
    texts = {name: [field or None for field in found] for name, found in zip(columns, fields, strict=True)}
    return pl.DataFrame(texts, schema=dict.fromkeys(columns, pl.String))
