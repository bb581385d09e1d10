"""The sender's control totals: what a manifest may say, and every mistake in one that says something else.

A manifest is one JSON object::

    {"entities": {"accounts":     {"records": 1200, "sha256": "9f86…", "sums": {"cash_balance": "1500000.25"}},
                  "transactions": {"records": 53000, "sums": {"amount": "-12.5"}}}}

``entities``
    At least one kind of file by name. An entity that is not named has no control totals.
``records``
    Records in the file without its header, as a JSON number.
``sha256``
    64 hexadecimal digits: of the object's bytes as they lie in the bucket, or of its decompressed content. With it the
    entity's totals belong to that one content; without it, to the newest delivery, whichever that is.
``sums``
    Sums over all records by money column, as text or as JSON number; plain digits, at most four decimals, no exponent.

Of ``records``, ``sha256`` and ``sums`` an entity has at least one. Anything else is refused: a misspelt field must not pass
for a total that was checked.
"""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from dataharvest.entities import Kind, all_entities
from dataharvest.errors import Rejected
from dataharvest.rules.json_lines import Members, json_pointer, members_of

MAX_MANIFEST_BYTES = 1_048_576
_DEPTH = 5
_MOST_PROBLEMS = 100
_SHOWN_PROBLEMS = 10
_SHOWN_CHARACTERS = 40
_AMOUNT = re.compile(r"-?[0-9]{1,28}(\.[0-9]{1,4})?", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,18}", re.ASCII)


class _Number(str):
    """The digits of a JSON number as they were written; a float would have lost some."""

    __slots__ = ()


def _count_of(value: object) -> object:
    if isinstance(value, _Number) and _COUNT.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("is not a whole number of records")


def _amount_of(value: object) -> object:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) and _AMOUNT.fullmatch(value):
        return Decimal(value)
    raise ValueError("is not an amount of at most 28 digits and 4 decimals")


def _hash_of(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, _Number) and re.fullmatch(r"[0-9A-Fa-f]{64}", value):
        return value.lower()
    raise ValueError("is not a SHA-256 of 64 hexadecimal digits")


class EntityTotals(BaseModel):
    """Control totals of one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: Annotated[int, BeforeValidator(_count_of), Field(ge=0)] | None = None
    sha256: Annotated[str, BeforeValidator(_hash_of)] | None = None
    sums: dict[str, Annotated[Decimal, BeforeValidator(_amount_of)]] = {}

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, value: Any) -> Any:
        if isinstance(value, dict):
            if any(name in value and value[name] is None for name in ("records", "sha256")):
                raise ValueError("has a total that is null; leave it out instead")
            if not (value.keys() & {"records", "sha256"} or value.get("sums")) and value.keys() <= {"sums"}:
                raise ValueError("has none of records, sha256 and sums")
        return value


class Manifest(BaseModel):
    """A manifest that can be used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entities: Annotated[dict[str, EntityTotals], Field(min_length=1)]

    def as_json(self) -> dict[str, Any]:
        """Plain JSON with every digit; ``model_validate`` gives back an equal manifest."""
        return self.model_dump(mode="json", exclude_none=True)


def read_manifest(data: bytes) -> Manifest:
    """The manifest in an object's bytes: UTF-8 with or without BOM.

    Raises:
        Rejected: rule ``invalid_manifest``; ``problems`` in the details holds a sentence for each mistake (the first hundred),
            with its JSON pointer and, where it can be told, its line.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise _rejected([f"the manifest is longer than {MAX_MANIFEST_BYTES:,} bytes"])
    content, members = _loaded(data)
    problems = [_located(pointer, "is there twice", line) for pointer, line in members.repeated]
    problems += [_located(pointer, complaint, members.lines.get(pointer)) for pointer, complaint in _unknown_names(content)]
    try:
        manifest = Manifest.model_validate(content)
    except ValidationError as error:
        problems += [_shape_problem(item, members) for item in error.errors(include_url=False)]
        raise _rejected(problems) from error
    if problems:
        raise _rejected(problems)
    return manifest


def _loaded(data: bytes) -> tuple[Any, Members]:
    try:
        text = data.decode("utf-8-sig")
        content = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_refuse_constant)
        return content, members_of(text, depth=_DEPTH)
    except UnicodeDecodeError as error:
        raise _rejected([f"byte {error.start} is not UTF-8"]) from error
    except json.JSONDecodeError as error:
        raise _rejected([f"line {error.lineno}, column {error.colno}: not JSON: {error.msg}"]) from error
    except (RecursionError, _Constant) as error:
        raise _rejected([str(error) if isinstance(error, _Constant) else "not JSON that a manifest needs: too deep"]) from error


class _Constant(ValueError):
    """NaN or Infinity, which Python's parser takes and JSON does not know."""


def _refuse_constant(name: str) -> object:
    raise _Constant(f"not JSON: {name} is no number")


def _unknown_names(content: Any) -> Iterator[tuple[str, str]]:
    entities = content.get("entities") if isinstance(content, dict) else None
    for name, totals in entities.items() if isinstance(entities, dict) else ():
        entity = all_entities().get(name)
        if entity is None:
            yield json_pointer(["entities", name]), f"is no entity, expected one of {', '.join(all_entities())}"
            continue
        money = [column.name for column in entity.columns if column.kind is Kind.MONEY]
        sums = totals.get("sums") if isinstance(totals, dict) else None
        for column in sums if isinstance(sums, dict) else ():
            if column not in money:
                expected = f"expected one of {', '.join(money)}" if money else "it has none"
                yield json_pointer(["entities", name, "sums", column]), f"is no money column of {name}, {expected}"


def _shape_problem(item: ErrorDetails, members: Members) -> str:
    pointer = json_pointer(item["loc"])
    return _located(pointer, _complaint(item), members.lines.get(pointer))


def _complaint(item: ErrorDetails) -> str:
    match item["type"]:
        case "extra_forbidden":
            return "is an unknown field"
        case "missing":
            return "is missing"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "is not an object"
        case "too_short":
            return "names no entity"
    message = item["msg"].removeprefix("Value error, ")
    value = item.get("input")
    return f"{message}: {ascii(str(value))[:_SHOWN_CHARACTERS]}" if isinstance(value, str) else message


def _located(pointer: str, complaint: str, line: int | None) -> str:
    place = pointer or "the manifest"
    return f"line {line}: {place} {complaint}" if line else f"{place} {complaint}"


def _rejected(problems: list[str]) -> Rejected:
    distinct = list(dict.fromkeys(problems))
    shown = "; ".join(distinct[:_SHOWN_PROBLEMS])
    more = f"; and {len(distinct) - _SHOWN_PROBLEMS:,} more" if len(distinct) > _SHOWN_PROBLEMS else ""
    message = f"the manifest can't be used: {shown}{more}"
    return Rejected(message, rule="invalid_manifest", problems=tuple(distinct[:_MOST_PROBLEMS]))
