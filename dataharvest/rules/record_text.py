r"""A record's bytes as one line of text that survives a terminal, a spreadsheet and the way back.

What is not UTF-8, or would break a line, is written as in Python: ``\xff``, ``\n``, ``\r``, ``\t``, and a backslash is ``\\``.
"""

import re
import unicodedata

from dataharvest.errors import Rejected

_SHORT = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LONG = {escape[1:]: character for character, escape in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|(.)|\Z)", re.DOTALL)
_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_LOOKS_LIKE_A_FORMULA = "=+-@\t\r"


def record_text(record: bytes) -> str:
    r"""The record as text; `record_bytes` gives back the same bytes.

    >>> print(record_text(b"1,M\xc3\xbcller,\xff\n"))
    1,Müller,\xff\n
    """
    return "".join(_written(character) for character in record.decode(errors="surrogateescape"))


def record_bytes(text: str) -> bytes:
    r"""The bytes that the text stands for.

    Raises:
        Rejected: rule ``unknown_escape``: a backslash is followed by anything else than ``\\``, ``n``, ``r``, ``t`` or ``xNN``.
    """
    found = bytearray()
    position = 0
    for escape in _ESCAPE.finditer(text):
        found += text[position : escape.start()].encode(errors="surrogateescape")
        found += _meant(escape)
        position = escape.end()
    return bytes(found + text[position:].encode(errors="surrogateescape"))


def as_cell(text: str) -> str:
    """The text as a spreadsheet's cell that is text for it, whatever it looks like."""
    return f"'{_without_apostrophe(text)}"


def from_cell(cell: str) -> str:
    """What `as_cell` was given, whether the spreadsheet kept the apostrophe or took it for a mark of text."""
    return cell.removeprefix("'")


def harmless(text: str) -> str:
    """The text as a cell to be read only: one that looks like a formula gets an apostrophe."""
    return f"'{text}" if text.startswith(tuple(_LOOKS_LIKE_A_FORMULA)) else text


def _written(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    if unicodedata.category(character) in _INVISIBLE:
        return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))
    return character


def _meant(escape: re.Match[str]) -> bytes:
    digits, letter = escape.groups()
    if digits:
        return bytes((int(digits, 16),))
    if letter in _LONG:
        return _LONG[letter].encode()
    message = f"{escape[0]!r} is no escape: a backslash is written \\\\, a byte \\xNN, a line end \\n or \\r, a tab \\t"
    raise Rejected(message, rule="unknown_escape")


def _without_apostrophe(text: str) -> str:
    return f"\\x27{text[1:]}" if text.startswith("'") else text
