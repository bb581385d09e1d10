"""Where in a JSON text each member stands, so that a mistake can be shown with its line."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

_BLANK = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)


class _Member(NamedTuple):
    pointer: str
    position: int
    value_position: int


@dataclass(frozen=True, kw_only=True)
class Members:
    """Every member of the objects in a text, down to a depth."""

    lines: dict[str, int]
    """Line by JSON pointer, from 1; of the last one where a name is there twice."""
    repeated: tuple[tuple[str, int], ...]
    """Pointer and line of every member whose name stood in the same object before."""


def json_pointer(parts: Iterable[object]) -> str:
    """The JSON pointer (RFC 6901) of these parts; what cannot be printed is escaped, so that it can be stored anywhere."""
    printable = (str(part) if str(part).isprintable() else ascii(str(part))[1:-1] for part in parts)
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in printable)


def members_of(text: str, *, depth: int) -> Members:
    """The members of a text that ``json.loads`` reads; arrays are not looked into."""
    lines: dict[str, int] = {}
    repeated: list[tuple[str, int]] = []
    line, counted_to = 1, 0
    for one in sorted(_members(text, _skip(text, 0), pointer="", depth=depth), key=lambda member: member.position):
        line, counted_to = line + text.count("\n", counted_to, one.position), one.position
        if one.pointer in lines:
            repeated.append((one.pointer, line))
        lines[one.pointer] = line
    return Members(lines=lines, repeated=tuple(repeated))


def _members(text: str, position: int, *, pointer: str, depth: int) -> Iterator[_Member]:
    if not depth or text[position] != "{":
        return
    position = _skip(text, position + 1)
    while text[position] != "}":
        name, end = _DECODER.raw_decode(text, position)
        value_position = _skip(text, _skip(text, end) + 1)
        member = _Member(pointer + json_pointer([name]), position, value_position)
        yield member
        yield from _members(text, value_position, pointer=member.pointer, depth=depth - 1)
        _, end = _DECODER.raw_decode(text, value_position)
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)


def _skip(text: str, position: int) -> int:
    found = _BLANK.match(text, position)
    assert found is not None
    return found.end()
