"""What a cell of each kind must look like, what is said of one that does not, and how COPY wants it written."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from dataharvest.entities import Column, Kind
from dataharvest.rules.record_rules import RecordRule

MAX_KEY_CHARACTERS = 64
_SHOWN_CHARACTERS = 40

# ASCII classes on purpose: \d would accept Arabic and full-width digits.
_PATTERNS = {
    Kind.MONEY: rb"-?[0-9]{1,15}+(?:\.[0-9]{1,4}+)?+",
    Kind.DIGITS: rb"[0-9]{1,18}+",
    Kind.CURRENCY: rb"[A-Z]{3}",
    Kind.UUID: rb"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
}
_MATCHERS = {kind: re.compile(pattern) for kind, pattern in _PATTERNS.items()}
_RULES: dict[Kind, tuple[RecordRule, str]] = {
    Kind.MONEY: ("money", "is not an amount of at most 15 digits and 4 decimals"),
    Kind.DIGITS: ("digits", "is not a number of 1 to 18 digits"),
    Kind.CURRENCY: ("currency", "is not a currency code of three capital letters"),
    Kind.UUID: ("uuid", "is not a UUID"),
}

# Well-formed UTF-8 beyond ASCII: no overlong forms, no surrogates, nothing above U+10FFFF.
_UTF8_BEYOND_ASCII = (
    rb"(?:[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2})"
)
_SWAP_MARKS = bytes.maketrans(b",.", b".,")
_NEEDS_ESCAPE = re.compile(rb"[\\\n\r\t,]")
_COPY_CELL = re.compile(rb"(?:\A|,)((?:[^\\,]|\\.)*+)")
_ESCAPED = re.compile(rb"\\.")
_COPY_ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"), (b",", b"\\,"))
_COPY_MEANINGS = {escaped: plain for plain, escaped in _COPY_ESCAPES}


class Problem(NamedTuple):
    """The rule a record breaks, and where."""

    rule: RecordRule
    message: str
    column: str | None = None


def problem_of(cells: Sequence[bytes], columns: Sequence[Column | None], decimal_mark: str = ".") -> Problem | None:
    """The first rule that a record's cells break, or None; the rules on text come before those on single columns."""
    if not is_text(b",".join(cells)):
        return next(filter(None, map(_text_problem, cells, columns)), None)
    for cell, column in zip(cells, columns, strict=True):
        if column and (problem := _column_problem(cell, column, decimal_mark)):
            return problem
    return None


def is_text(data: bytes) -> bool:
    """Whether PostgreSQL takes the bytes as text: UTF-8 without NUL."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def copy_cell(cell: bytes) -> bytes:
    """The cell as ``COPY … FORMAT text, DELIMITER ','`` reads it back; an empty one stays empty, which is NULL."""
    if not _NEEDS_ESCAPE.search(cell):
        return cell
    for plain, escaped in _COPY_ESCAPES:
        cell = cell.replace(plain, escaped)
    return cell


def row_cells(row: bytes) -> list[bytes]:
    """The cells of a row as COPY takes it, without its line feed; the opposite of `copy_cell`, and an empty one is NULL."""
    return [_ESCAPED.sub(_unescaped, cell) for cell in _COPY_CELL.findall(row)]


def _unescaped(escape: re.Match[bytes]) -> bytes:
    return _COPY_MEANINGS[escape[0]]


def with_point(cell: bytes) -> bytes:
    """An amount with a decimal comma as one with a decimal point; one with a point comes out as no amount at all."""
    return cell.translate(_SWAP_MARKS)


def plain_pattern(column: Column | None, *, special: bytes, decimal_mark: str = ".") -> bytes:
    """Pattern of the cells that are good and that COPY reads back unchanged; never empty for a mandatory column.

    It may leave out good cells (a key beyond ASCII, an ignored cell beyond ASCII), which then take the slower way. It
    visits each byte once.

    Args:
        column: None for an ignored column.
        special: characters, as the inside of a class, that no such cell may hold.
        decimal_mark: of amounts; empty for those without decimals alone.
    """
    ascii_cell = rb"[^\x00\x80-\xff" + special + rb"]"
    if column is None:
        return ascii_cell + b"*+"
    if column.kind is Kind.TEXT:
        pattern = ascii_cell + b"*+(?:" + _UTF8_BEYOND_ASCII + ascii_cell + b"*+)*+"
        # The look-ahead keeps mandatory text from being empty without a second visit of its bytes.
        return rb"(?=[^" + special + b"])" + pattern if column.mandatory else pattern
    pattern = ascii_cell + b"{1,%d}+" % MAX_KEY_CHARACTERS if column.kind is Kind.KEY else _PATTERNS[column.kind]
    if column.kind is Kind.MONEY and decimal_mark != ".":
        pattern = rb"-?[0-9]{1,15}+" + (rb"(?:%b[0-9]{1,4}+)?+" % decimal_mark.encode() if decimal_mark else b"")
    return pattern if column.mandatory else b"(?:" + pattern + b")?+"


def swift_pattern(column: Column, *, end: bytes) -> bytes:
    """Pattern of the good cells, and of the delimiter or line feed ``end`` behind each, for the fastest matching.

    It holds only for valid UTF-8 without quote, backslash, CR and NUL. Text before a comma may run over a line feed: one
    literal in place of a class makes matching twice as fast, and the caller counts commas and lines to find that out.
    """
    text = b"[^,]" if end == b"," else b"[^,\n]"
    if column.kind is Kind.MONEY:
        number = rb"-?+[0-9]{1,15}+(?:%b|\.[0-9]{1,4}+%b)" % (end, end)
        return number if column.mandatory else b"(?>" + number + b"|" + end + b")"
    if column.kind is Kind.TEXT:
        return text + (b"++" if column.mandatory else b"*+") + end
    pattern = text + b"{1,%d}+" % MAX_KEY_CHARACTERS if column.kind is Kind.KEY else _PATTERNS[column.kind]
    return (pattern if column.mandatory else b"(?:" + pattern + b")?+") + end


def _text_problem(cell: bytes, column: Column | None) -> Problem | None:
    name = column.name if column else None
    label = name or "An ignored column"
    try:
        cell.decode()
    except UnicodeDecodeError:
        return Problem("encoding", f"{label} is not UTF-8.", name)
    return Problem("nul", f"{label} holds a NUL byte.", name) if b"\0" in cell else None


def _column_problem(cell: bytes, column: Column, decimal_mark: str) -> Problem | None:
    if not cell:
        return Problem("missing_value", f"{column.name} is empty.", column.name) if column.mandatory else None
    if column.kind is Kind.TEXT:
        return None
    if column.kind is Kind.KEY:
        if len(cell) <= MAX_KEY_CHARACTERS or len(cell.decode()) <= MAX_KEY_CHARACTERS:
            return None
        return Problem("key", f"{column.name} is longer than {MAX_KEY_CHARACTERS} characters{_shown(cell, column)}.", column.name)
    has_comma = column.kind is Kind.MONEY and decimal_mark == ","
    if _MATCHERS[column.kind].fullmatch(with_point(cell) if has_comma else cell):
        return None
    rule, complaint = _RULES[column.kind]
    mark = " with a decimal comma" if has_comma else ""
    return Problem(rule, f"{column.name} {complaint}{mark}{_shown(cell, column)}.", column.name)


def _shown(cell: bytes, column: Column) -> str:
    if column.personal:
        return ""
    text = cell.decode()
    cut = "…" if len(text) > _SHOWN_CHARACTERS else ""
    return f": {ascii(text[:_SHOWN_CHARACTERS])}{cut}"
