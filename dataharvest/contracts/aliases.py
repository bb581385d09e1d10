"""Which header aliases are sound: each means one column that exists, and takes no name away from another."""

from collections.abc import Iterator, Mapping

from dataharvest.contracts.vocabulary import close_to
from dataharvest.entities import Entity, all_entities

Place = tuple[str, ...]


def require_clear_aliases(aliases: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The aliases as they are; ValueError names every one that is not sound."""
    if problems := [message for _, message in alias_problems(aliases)]:
        raise ValueError("; ".join(problems))
    return aliases


def alias_problems(aliases: object) -> Iterator[tuple[Place, str]]:
    """Every alias that is not sound: entity and header name, and what is wrong; what has another shape is passed over."""
    if not isinstance(aliases, Mapping):
        return
    for name, columns in aliases.items():
        entity = all_entities().get(name)
        if entity is not None and isinstance(columns, Mapping):
            yield from _problems_of(entity, columns)


def _problems_of(entity: Entity, aliases: Mapping[object, object]) -> Iterator[tuple[Place, str]]:
    taken = {name.casefold(): column.name for column in entity.columns for name in (column.name, *column.aliases)}
    names = {column.name for column in entity.columns}
    for alias, column in aliases.items():
        if not isinstance(alias, str) or not isinstance(column, str):
            continue
        if column not in names:
            yield (entity.name, alias), f"{entity.name} has no column {column!r}{close_to(column, names)}"
        elif taken.setdefault(alias.strip().casefold(), column) != column:
            yield (entity.name, alias), f"{alias!r} already means the column {taken[alias.strip().casefold()]}"
