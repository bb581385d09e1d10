"""When a harvest is over: every upload has ended, then every set stands still; and what it still waits for before."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date

from dataharvest.deliveries import SetKey
from dataharvest.rules.standing import SETTLED, Standing

OVERWRITTEN = "overwritten"
"""State of an upload that another one replaced, or somebody deleted, before it was looked at: it never had a delivery."""
BROKEN = "broken"
"""State of an upload whose records are not all accounted for: it stays as it is until somebody repairs something."""
ENDED = frozenset({"complete", "repeat", "rejected", "superseded", "abandoned", "compared", OVERWRITTEN, BROKEN})


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is known at one moment."""

    uploads: Mapping[str, str | None]
    """State of the delivery by object key; None before it is registered."""
    sets: Mapping[SetKey, Standing] | None
    """None until all uploads have ended."""


def unended(uploads: Mapping[str, str | None]) -> list[str]:
    """Keys of the uploads that are under way, in order."""
    return sorted(key for key, state in uploads.items() if state not in ENDED)


def is_settled(sight: Sight, *, tenant: str, dates: Collection[date]) -> bool:
    """Whether nothing changes any more without another file or a repair."""
    if unended(sight.uploads) or sight.sets is None:
        return False
    return all(_is_still(sight.sets, SetKey(tenant, day)) for day in dates)


def awaited(sight: Sight, *, tenant: str, dates: Collection[date]) -> list[str]:
    """What is still waited for, a sentence each; empty when settled."""
    if keys := unended(sight.uploads):
        return [f"{key}: {sight.uploads[key] or 'no worker has registered it yet'}" for key in keys]
    if sight.sets is None:
        return ["the sets' state"]
    keys_of_sets = [SetKey(tenant, day) for day in dates]
    return [_sentence(sight.sets, key) for key in keys_of_sets if not _is_still(sight.sets, key)]


def _is_still(sets: Mapping[SetKey, Standing], key: SetKey) -> bool:
    return key in sets and sets[key].state in SETTLED


def _sentence(sets: Mapping[SetKey, Standing], key: SetKey) -> str:
    found = sets.get(key)
    return f"{key.business_date}: {f'{found.state}, {found.reason}' if found else 'nothing is known of this set'}"
