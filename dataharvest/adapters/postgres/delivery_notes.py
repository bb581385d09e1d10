"""What a delivery is doing, in a few words, from the row that is stored of it."""

import asyncpg

from dataharvest.rules.versions import IN_PROGRESS

Row = asyncpg.Record

_NOTES = {
    "judging": "all stored, sums and duplicates are being counted",
    "registered": "registered, nobody reads it yet",
}
"""What a delivery in one of these states is doing."""


def note(row: Row) -> str:
    """What it is doing, or its state where it does nothing any more."""
    if row["state"] not in IN_PROGRESS:
        return str(row["state"])
    if row["state"] in ("registered", "waiting", "splitting") and row["pause_reason"] is not None:
        return _pause(row["pause_reason"])
    if row["state"] == "waiting":
        failure = row["failure"] or {"rule": "object", "message": "it cannot be read now"}
        return f"waits{' for its object' if failure['rule'].startswith('object') else ''} ({failure['message']})"
    if row["is_broken"]:
        return f"records are unaccounted for ({row['failure']['message']})"
    if row["dead_letter_count"]:
        return _dead_letters(row)
    return _doing(row)


def _doing(row: Row) -> str:
    if row["state"] == "judging" and row["failure"]:
        return f"all stored, its judgement waits for the object ({row['failure']['message']})"
    if plain := _NOTES.get(row["state"]):
        return plain
    total = row["chunk_count"]
    lost = (
        f", the others can't be read again ({row['failure']['message']})" if row["state"] == "sealed" and row["failure"] else ""
    )
    return f"{row['stored_chunk_count']} {'stored chunks, more to come' if total is None else f'of {total} chunks stored'}{lost}"


def _dead_letters(row: Row) -> str:
    count, index = row["dead_letter_count"], row["dead_letter_index"]
    what = "its judgement" if index is None else f"chunk {index}" if count == 1 else f"chunk {index} and {count - 1:,} more"
    if row["dead_letter_is_discarded"]:
        ways = "only a corrected file or a replay by its name brings it"
        return f"{what} was dead-lettered ({row['dead_letter_rule']}) and discarded, {ways}"
    return f"{what} was dead-lettered ({row['dead_letter_rule']}) and waits to be replayed, nothing sends it again by itself"


def _pause(reason: str) -> str:
    return f"waits until the tenant is resumed: it is paused{f' ({reason})' if reason else ''}"
