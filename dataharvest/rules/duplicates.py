"""Records of one delivery with the same natural key: where they stand, and what is said of them."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from dataharvest.entities import Entity, Kind
from dataharvest.rules.cells import row_cells
from dataharvest.rules.records import MAX_RAW_BYTES, CheckedChunk, QuarantinedRecord
from dataharvest.rules.scanning import RecordScanner, line_count

LISTED_KEYS = 100
"""Natural keys whose records are named by line; of the rest only counts are kept."""
LISTED_COPIES = 10
"""Records of such a key that are named."""
FURTHER_POSITION = -1
"""Position of the quarantine entry that stands for all other copies of a chunk: before every record."""

_BLANK_LINES = re.compile(rb"[\r\n]++")


class Copy(NamedTuple):
    """A record whose natural key occurs more than once."""

    natural_key: str
    position: int
    """Index of the record in its chunk, from 0, blank lines not counted."""
    line: int
    byte_offset: int
    """Of its first byte, in the content."""
    raw: bytes
    """The record without its line end, or the beginning of one that is only remembered."""
    byte_length: int
    """Of the whole record."""

    def remembered(self) -> "Copy":
        """The copy with as much of the record as the quarantine keeps."""
        return self._replace(raw=self.raw[:MAX_RAW_BYTES])


class PlacedRecord(NamedTuple):
    """A record and where it stands."""

    position: int
    """Index of the record in its chunk, from 0, blank lines not counted."""
    line: int
    byte_offset: int
    """Of its first byte, in the content."""
    raw: bytes
    """The record without its line end."""


def records_in(data: bytes, *, scanner: RecordScanner, first_line: int, byte_offset: int) -> Iterator[PlacedRecord]:
    """The records of a chunk in order, up to one that never ends.

    Args:
        data: the chunk's bytes.
        scanner: finds the records.
        first_line: physical line of the chunk's first byte.
        byte_offset: place of that byte in the content.
    """
    data = data if data.endswith((b"\n", b"\r")) else data + b"\n"
    start, position, line = 0, 0, first_line
    while start < len(data):
        if blank := _BLANK_LINES.match(data, start):
            line += line_count(blank[0])
            start = blank.end()
            continue
        record = scanner.record_at(data, start, len(data))
        if record is None:
            return
        yield PlacedRecord(position, line, byte_offset + start, data[record.start : record.stop])
        line += line_count(data[start : record.following])
        start, position = record.following, position + 1


def copies_in(
    records: Iterable[PlacedRecord],
    *,
    scanner: RecordScanner,
    key_index: int,
    key_kind: Kind,
    keys: Collection[str] | None,
    left_out: Collection[int],
) -> Iterator[Copy]:
    """The records of a chunk that have one of these natural keys, in order.

    Args:
        records: the chunk's records.
        scanner: finds their fields.
        key_index: field that holds the natural key.
        key_kind: its type. A UUID is the same in any case; text is compared byte by byte.
        keys: natural keys as stored, a UUID in lower case; None for all.
        left_out: positions of the records that are no rows.
    """
    for one in records:
        if one.position not in left_out:
            cell = scanner.fields(one.raw)[key_index].decode()
            key = cell.lower() if key_kind is Kind.UUID else cell
            if keys is None or key in keys:
                yield Copy(key, *one, len(one.raw))


def quarantined_copy(copy: Copy, *, column: str, record_count: int, lines: Sequence[int]) -> QuarantinedRecord:
    """What the quarantine keeps of a copy."""
    others = ", ".join(str(line) for line in lines if line != copy.line) or "unknown"
    more = " and further lines" if record_count > len(lines) else ""
    return QuarantinedRecord(
        position=copy.position,
        line=copy.line,
        byte_offset=copy.byte_offset,
        byte_length=copy.byte_length,
        column=column,
        rule="duplicate",
        message=f"{record_count} records of this file have the same {column}; the others are in line {others}{more}.",
        raw=copy.raw[:MAX_RAW_BYTES],
    )


def further_copies(record_count: int, *, column: str, first_line: int, byte_offset: int, byte_length: int) -> QuarantinedRecord:
    """The one entry for all copies of a chunk that are not kept by themselves; its place is the whole chunk."""
    return QuarantinedRecord(
        position=FURTHER_POSITION,
        line=first_line,
        byte_offset=byte_offset,
        byte_length=byte_length,
        column=column,
        rule="duplicate",
        message=f"{record_count} further records from this line on have a {column} that occurs more than once.",
        raw=b"",
        record_count=record_count,
    )


def natural_keys(checked: CheckedChunk, entity: Entity) -> list[str]:
    """Natural keys of the rows of a chunk, in order, as the table has them."""
    place = checked.copy_columns.index(entity.natural_key)
    keys = [row_cells(row)[place].decode() for row in checked.copy_text.splitlines()]
    is_uuid = any(one.name == entity.natural_key and one.kind is Kind.UUID for one in entity.columns)
    return [key.lower() for key in keys] if is_uuid else keys
