"""What changes from one version of a contract to the next, in sentences."""

from typing import Any

from dataharvest.contracts.model import DEFAULT, Contract


def difference(old: Contract | None, new: Contract) -> list[str]:
    """One sentence per field that changes, such as ``delimiter: ',' → ';'``; none when the contracts are equal.

    Args:
        old: None for a tenant without a contract, for whom the defaults hold.
        new: what shall hold.
    """
    before, after = (contract.model_dump(mode="json") for contract in (old or DEFAULT, new))
    return [sentence for name in Contract.model_fields for sentence in _changes(name, before[name], after[name])]


def _changes(name: str, before: Any, after: Any) -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        return [one for key in keys for one in _changes(f"{name}.{key}", before.get(key), after.get(key))]
    if isinstance(before, list) and isinstance(after, list):
        gone = [f"{name}: without {_shown(item)}" for item in before if item not in after]
        return [*gone, *(f"{name}: with {_shown(item)}" for item in after if item not in before)]
    return [] if before == after else [f"{name}: {_shown(before)} → {_shown(after)}"]


def _shown(value: Any) -> str:
    if value is None or value in ({}, []):
        return "nothing"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return repr(value)
