"""How a contract's YAML is read: every mistake at once, each with the line and column where it stands."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from dataharvest.contracts.aliases import alias_problems
from dataharvest.contracts.model import Calendar, Contract, Cutoff
from dataharvest.contracts.vocabulary import close_to
from dataharvest.contracts.yaml_text import Mistake, Place, Text, parse
from dataharvest.errors import Rejected

__all__ = ["InvalidContract", "Mistake", "read_contract"]

_SENTENCES = {
    "missing": "is missing",
    "dict_type": "should be a map",
    "model_type": "should be a map",
    "tuple_type": "should be a list",
    "string_too_short": "should not be empty",
    "string_type": "should be a word",
    "int_type": "should be a whole number",
    "int_parsing": "should be a whole number",
}


class InvalidContract(Rejected):
    """The text is no contract; ``mistakes`` holds all that is wrong with it, in order of place."""

    def __init__(self, source: str, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        listed = "\n".join(f"{source}:{one.line}:{one.column}: {one.message}" for one in self.mistakes)
        super().__init__(listed, rule="invalid_contract", source=source, line=self.mistakes[0].line)


def read_contract(text: str | bytes, *, source: str) -> Contract:
    """The contract that a YAML text holds; what it does not say is as in the defaults, so an empty text is the defaults.

    Args:
        text: YAML, in UTF-8 where it is bytes.
        source: name of the file, for the messages.

    Raises:
        InvalidContract: the text is not YAML, says a thing twice, or says something that no contract can; all mistakes that
            can be told apart are named.
    """
    parsed = parse(text)
    if parsed.content is None:
        raise InvalidContract(source, parsed.mistakes)
    contract, problems = _validated(parsed.content)
    mistakes = [*parsed.mistakes, *(_mistake(parsed, *problem) for problem in problems)]
    if contract is None or mistakes:
        raise InvalidContract(source, mistakes)
    return contract


class _Problem(NamedTuple):
    place: Place
    at_key: bool
    message: str


def _validated(content: dict[str, Any]) -> tuple[Contract | None, list[_Problem]]:
    try:
        return Contract.model_validate(content), []
    except ValidationError as error:
        found = [_problem(item) for item in error.errors(include_url=False) if not _is_about_aliases(item)]
    in_aliases = alias_problems(content.get("header_aliases"))
    return None, [*found, *(_Problem(("header_aliases", *place), False, message) for place, message in in_aliases)]


def _is_about_aliases(item: ErrorDetails) -> bool:
    # Said once of all aliases together; `alias_problems` says it of each, with its place.
    return item["loc"] == ("header_aliases",) and item["type"] == "value_error"


def _problem(item: ErrorDetails) -> _Problem:
    place: Place = item["loc"]
    if item["type"] == "extra_forbidden":
        known = _model_at(place[:-1]).model_fields
        return _Problem(place, True, f"unknown field {place[-1]!r}{close_to(str(place[-1]), known)}")
    if place and place[-1] == "[key]":
        return _Problem(place[:-1], True, _sentence(item))
    return _Problem(place, item["type"] == "missing", f"{'.'.join(map(str, place))}: {_sentence(item)}")


def _sentence(item: ErrorDetails) -> str:
    if item["type"] in _SENTENCES:
        return _SENTENCES[item["type"]]
    return item["msg"].removeprefix("Value error, ").replace("Input should", "should")


def _model_at(place: Place) -> type[BaseModel]:
    parts: dict[Place, type[BaseModel]] = {("cutoff",): Cutoff, ("calendar",): Calendar}
    return parts.get(place, Contract)


def _mistake(parsed: Text, place: Place, at_key: bool, message: str) -> Mistake:
    line, column = parsed.position(place, at_key=at_key)
    return Mistake(line, column, message)
