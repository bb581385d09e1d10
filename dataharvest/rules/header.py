"""What a file's header record must say, and which entity column each field of the file is."""

import re
from dataclasses import dataclass

from dataharvest.entities import Column, Entity
from dataharvest.errors import Rejected
from dataharvest.rules.scanning import CARRIAGE_RETURN, Record, line_count, scanner_for

MAX_HEADER_BYTES = 1 << 20
"""Longest header, blank lines before it included."""

_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL_BYTE = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BLANK_LINES = re.compile(rb"[\r\n]*+")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What the header record decides about a file."""

    columns: tuple[str | None, ...]
    """The entity's column for each field of the file; None for an unknown column, which is ignored."""
    ignored: tuple[str, ...]
    """Names of the unknown columns, as in the file."""
    byte_length: int
    """Bytes up to and including the header's line end, BOM included: where the first data record starts."""
    line_count: int
    """Physical lines up to the first data record, blank lines before the header included."""
    raw: bytes
    """The header record without BOM and line end; a data record equal to it is a repeated header."""


def read_header(start: bytes, *, entity: Entity, at_end: bool, delimiter: str = ",") -> Header | None:
    """The header of a file, or None when ``start`` does not hold all of it yet.

    Names are compared without surrounding blanks and case; aliases count. Optional columns may be missing.

    Args:
        start: first bytes of the decompressed content.
        entity: kind of file; its columns decide.
        at_end: whether ``start`` is the whole content.
        delimiter: one ASCII character.

    Raises:
        Rejected: with rule ``empty_file``, ``encoding``, ``not_text``, ``stray_quote``, ``header_too_long``,
            ``missing_column`` or ``repeated_column``; details name ``line`` and ``column`` where they are known.
    """
    if start.startswith(_UTF16_BOMS):
        raise Rejected("The file is UTF-16; only UTF-8 is read.", rule="encoding", line=1)
    begin = len(_BOM) if start.startswith(_BOM) else 0
    first = _end_of_blank_lines(start, begin)
    line = line_count(start[begin:first]) + 1
    record = _record(start, first, at_end=at_end, delimiter=delimiter)
    raw = start[first : record.stop] if record else start[first:]
    _require_text(raw, line=line)
    if record is None:
        _require_more_to_come(start, raw, line=line, at_end=at_end)
        return None
    if record.following > MAX_HEADER_BYTES:
        raise _too_long(line)
    if record.stray_at is not None:
        raise Rejected("The header has a quote in the middle of a name.", rule="stray_quote", line=line)
    names = _names(raw, line=line, delimiter=delimiter)
    columns = _columns(names, entity=entity, line=line)
    return Header(
        columns=columns,
        ignored=tuple(name for name, column in zip(names, columns, strict=True) if column is None),
        byte_length=min(record.following, len(start)),
        line_count=line + line_count(raw),
        raw=raw,
    )


def _end_of_blank_lines(start: bytes, begin: int) -> int:
    found = _BLANK_LINES.match(start, begin)
    return found.end() if found else begin


def _record(start: bytes, first: int, *, at_end: bool, delimiter: str) -> Record | None:
    """The header record; None while it has no end, or when it is blank."""
    scanner = scanner_for(delimiter)
    if first == len(start):
        return None
    if at_end:
        return scanner.record_at(start + b"\n", first, len(start) + 1)
    # The LF of a CRLF may still be on its way.
    return scanner.record_at(start, first, len(start) - (start[-1] == CARRIAGE_RETURN))


def _require_more_to_come(start: bytes, raw: bytes, *, line: int, at_end: bool) -> None:
    if len(start) > MAX_HEADER_BYTES:
        raise _too_long(line)
    if at_end and not raw:
        raise Rejected("The file is empty.", rule="empty_file", line=line)
    if at_end:
        raise Rejected("The header opens a quote that never closes.", rule="stray_quote", line=line)


def _too_long(line: int) -> Rejected:
    return Rejected(f"The header is longer than {MAX_HEADER_BYTES} bytes.", rule="header_too_long", line=line)


def _require_text(raw: bytes, *, line: int) -> None:
    if found := _CONTROL_BYTE.search(raw):
        message = f"The header holds the control byte 0x{found[0].hex()}: the file is not text."
        raise Rejected(message, rule="not_text", line=line)


def _names(raw: bytes, *, line: int, delimiter: str) -> tuple[str, ...]:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        message = f"The header is not UTF-8 at its byte {error.start}."
        raise Rejected(message, rule="encoding", line=line) from error
    return tuple(cell.decode().strip() for cell in scanner_for(delimiter).fields(raw))


def _columns(names: tuple[str, ...], *, entity: Entity, line: int) -> tuple[str | None, ...]:
    known = {alias.casefold(): column for column in entity.columns for alias in (column.name, *column.aliases)}
    found = [known.get(name.casefold()) for name in names]
    _require_no_repetition(found, line=line)
    missing = [column.name for column in entity.columns if column.mandatory and column not in found]
    if missing:
        message = f"The header of {entity.name} lacks {', '.join(missing)}."
        raise Rejected(message, rule="missing_column", line=line, column=missing[0], columns=tuple(missing))
    return tuple(column.name if column else None for column in found)


def _require_no_repetition(found: list[Column | None], *, line: int) -> None:
    for column in found:
        if column and found.count(column) > 1:
            message = f"The header names {column.name} more than once."
            raise Rejected(message, rule="repeated_column", line=line, column=column.name)
