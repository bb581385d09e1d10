"""The quarantine as a CSV for a spreadsheet, and the corrections that come back in it."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from dataharvest.errors import Rejected
from dataharvest.quarantine import Entry
from dataharvest.rules.record_text import as_cell, from_cell, harmless, record_bytes, record_text

COLUMNS = (
    "quarantine_id", "tenant", "business_date", "entity", "delivery", "file", "line", "byte", "column", "rule", "message",
    "state", "record",
)  # fmt: skip
_BYTE_ORDER_MARK = "\ufeff"
"""Without it a spreadsheet takes the text for whatever its country is used to."""
_DELIMITERS = ",;\t"
_LONGEST_FIELD = 1 << 24
_LONGEST_CELL = 32_000
"""A spreadsheet cuts a longer one off."""


class Correction(NamedTuple):
    """What an entry of the quarantine is to be read as."""

    quarantine_id: int
    content: bytes


def quarantine_csv(entries: Iterable[Entry]) -> str:
    """A line for each entry; ``record`` is what may be edited."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_cells(one) for one in entries)
    return _BYTE_ORDER_MARK + text.getvalue()


def read_corrections(content: bytes) -> list[Correction]:
    """The records of such a CSV by entry, edited or not; other columns are not looked at.

    Raises:
        Rejected: rule ``corrections``: it can't be read, with the line and what is wrong.
    """
    # The reader's own limit is 128 KiB, and a byte may take four characters.
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(io.StringIO(_text(content), newline=""), delimiter=_delimiter(content))
    try:
        header = next(reader, [])
        places = _places(header)
        found = [_correction(row, places, line=reader.line_num) for row in reader if any(row)]
    except csv.Error as error:
        raise _wrong(f"line {reader.line_num}: {error}") from error
    seen: set[int] = set()
    for one in found:
        if one.quarantine_id in seen:
            raise _wrong(f"entry {one.quarantine_id} is in it twice")
        seen.add(one.quarantine_id)
    return found


def _cells(one: Entry) -> list[str]:
    known = (
        str(one.quarantine_id), one.tenant, one.business_date.isoformat(), one.entity, str(one.delivery_id), one.object_key,
        str(one.line), str(one.byte_offset), one.column or "", one.rule, one.message, one.state,
    )  # fmt: skip
    return [*map(harmless, known), as_cell(_editable(one))]


def _editable(one: Entry) -> str:
    """The record, or nothing where it would be cut off: half a record must not come back as a correction."""
    text = record_text(one.raw if one.content is None else one.content)
    return text if one.is_whole and len(text) <= _LONGEST_CELL else ""


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong("it is not UTF-8; a spreadsheet has to save it as CSV in UTF-8") from error


def _delimiter(content: bytes) -> str:
    header = content.decode(errors="replace").partition("\n")[0]
    return max(_DELIMITERS, key=header.count)


def _places(header: Sequence[str]) -> tuple[int, int]:
    names = [name.strip() for name in header]
    missing = [name for name in ("quarantine_id", "record") if name not in names]
    if missing:
        raise _wrong(f"line 1: there is no column {' and none '.join(missing)}")
    return names.index("quarantine_id"), names.index("record")


def _correction(row: Sequence[str], places: tuple[int, int], *, line: int) -> Correction:
    try:
        number, record = (row[place] for place in places)
        return Correction(int(number), record_bytes(from_cell(record)))
    except (IndexError, ValueError) as error:
        raise _wrong(f"line {line}: a quarantine_id, a number, and a record are needed") from error
    except Rejected as reason:
        raise _wrong(f"line {line}: {reason.message}") from reason


def _wrong(message: str) -> Rejected:
    return Rejected(f"The CSV can't be used: {message}.", rule="corrections")
