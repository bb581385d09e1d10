"""YAML as contracts use it: maps, lists and words, every word taken as it is written, and every place known.

YAML would read ``18:30`` as the number 1110 and a header name ``No`` as false. Here a word stays the word; what it has to be,
the contract's fields say.
"""

import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import yaml

MAX_CHARACTERS = 1 << 20
MAX_DEPTH = 20

Place = tuple[int | str, ...]
_NULLS = ("", "~", "null")


class Mistake(NamedTuple):
    """Something wrong, with its place in the text; line and column count from 1."""

    line: int
    column: int
    message: str


@dataclass(frozen=True)
class Text:
    """What a text holds, and where."""

    content: dict[str, Any] | None
    """None when there is nothing that could be looked at further."""
    mistakes: list[Mistake]
    _positions: dict[tuple[Place, bool], tuple[int, int]] = field(default_factory=dict)

    def position(self, place: Place, *, at_key: bool) -> tuple[int, int]:
        """Line and column of what a place holds, or of the name it goes by; of what is around it where it holds nothing."""
        while place and (place, at_key) not in self._positions:
            place = place[:-1]
        return self._positions.get((place, at_key), (1, 1))


def parse(text: str | bytes) -> Text:
    """The text's map; with the mistakes that make it no map of maps, lists and words."""
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return Text(None, [Mistake(line, 1, "the text is not UTF-8")])
    if len(decoded) > MAX_CHARACTERS:
        return Text(None, [Mistake(1, 1, f"the text is longer than {MAX_CHARACTERS} characters")])
    try:
        _require_plain_structure(decoded)
        root = yaml.compose(decoded, Loader=yaml.BaseLoader)
    except _Unfit as unfit:
        return Text(None, [unfit.mistake])
    except yaml.YAMLError as error:
        return Text(None, [_yaml_mistake(error, decoded)])
    return _Walk().text(root)


class _Unfit(Exception):
    def __init__(self, event: yaml.Event, message: str) -> None:
        assert event.start_mark is not None
        self.mistake = Mistake(event.start_mark.line + 1, event.start_mark.column + 1, message)


def _require_plain_structure(text: str) -> None:
    # Looked at as a flat stream first: composing nodes recurses, and an alias may stand for a billion of them.
    depth = 0
    for event in yaml.parse(text, Loader=yaml.BaseLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _Unfit(event, "an alias (*) can't be used in a contract")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _Unfit(event, "lists and maps are nested too deeply")


def _yaml_mistake(error: yaml.YAMLError, text: str) -> Mistake:
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark):
        # The marks that contracts are about are YAML's own too.
        is_mark = re.fullmatch("expected the node content, but found '.'", error.problem or "")
        hint = ", which has to be in quotes" if is_mark else ""
        return Mistake(mark.line + 1, mark.column + 1, f"not YAML: {error.problem or error.context}{hint}")
    position = getattr(error, "position", 0)
    before = text[:position].rpartition("\n")
    return Mistake(text.count("\n", 0, position) + 1, len(before[2]) + 1, "not YAML: a character that no text holds")


class _Walk:
    """One walk over the nodes; gathers mistakes and places."""

    def __init__(self) -> None:
        self._mistakes: list[Mistake] = []
        self._positions: dict[tuple[Place, bool], tuple[int, int]] = {}

    def text(self, root: yaml.Node | None) -> Text:
        """What the nodes hold."""
        content = {} if root is None else self._value(root, ())
        if content is None:
            content = {}
        if not isinstance(content, dict):
            assert root is not None
            self._note(root, "a contract is a map of fields, such as `delimiter: ;`")
            return Text(None, self._mistakes)
        return Text(content, self._mistakes, self._positions)

    def _value(self, node: yaml.Node, place: Place) -> Any:
        self._positions[place, False] = _start(node)
        if isinstance(node, yaml.MappingNode):
            return self._map(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*place, index)) for index, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        is_null = node.style is None and str(node.value).lower() in _NULLS
        return None if is_null else str(node.value)

    def _map(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._note(key, "a field's name must be a word")
            elif key.value in found:
                first, _ = self._positions[(*place, key.value), True]
                self._note(key, f"{key.value!r} is said twice, first in line {first}")
            else:
                self._positions[(*place, key.value), True] = _start(key)
                found[key.value] = self._value(value, (*place, key.value))
        return found

    def _note(self, node: yaml.Node, message: str) -> None:
        self._mistakes.append(Mistake(*_start(node), message))


def _start(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1
