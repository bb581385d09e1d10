"""What a consumer downstream received: what it holds in the end, and whatever it should never have seen."""

import json
from collections.abc import Iterable
from typing import Any

from tests.properties.oracle import Place, Values

REFERENCE = {"outbound.clients": "client_reference", "outbound.portfolios": "portfolio_reference"}
_ENVELOPE = {"message_id", "tenant", "business_date", "version", "supersedes"}

Message = tuple[str, bytes, bytes]
"""Topic, key and value, in the order of arrival within each key."""


def held(messages: Iterable[Message]) -> dict[Place, Values]:
    """By set, the values of the newest message of each reference; without those that were withdrawn."""
    found: dict[Place, Values] = {}
    for topic, _, value in messages:
        message = json.loads(value)
        reference = topic, str(message[REFERENCE[topic]])
        values = found.setdefault(Place(message["tenant"], message["business_date"]), {})
        values[reference] = _content(message, topic)
    return {
        place: {reference: one for reference, one in values.items() if not one.get("withdrawn")}
        for place, values in found.items()
    }


def complaints(messages: Iterable[Message]) -> list[str]:
    """Everything that contradicts the promises: ids that are not unique, versions that do not rise, republished content."""
    found: list[str] = []
    by_id: dict[str, bytes] = {}
    last: dict[tuple[str, Place, str], dict[str, Any]] = {}
    for topic, key, value in messages:
        message = json.loads(value)
        if (known := by_id.get(message["message_id"])) is not None:
            found += [f"two messages with one id: {value!r}"] if known != value else []
        else:
            by_id[message["message_id"]] = value
            reference = str(message[REFERENCE[topic]])
            place = topic, Place(message["tenant"], message["business_date"]), reference
            if key != f"{message['tenant']}|{reference}".encode():
                found.append(f"wrong key {key!r}: {value!r}")
            found += [f"{complaint}: {value!r}" for complaint in _compared(message, last.get(place), topic)]
            last[place] = message
    return found


def _compared(message: dict[str, Any], before: dict[str, Any] | None, topic: str) -> list[str]:
    if before is None:
        expected = message["supersedes"] is None and not message.get("withdrawn")
        return [] if expected else ["the first of its key"]
    checks = {
        "version does not rise": message["version"] > before["version"],
        "supersedes another than its predecessor": message["supersedes"] == before["message_id"],
        "content did not change": _content(message, topic) != _content(before, topic),
    }
    return [complaint for complaint, holds in checks.items() if not holds]


def _content(message: dict[str, Any], topic: str) -> dict[str, Any]:
    return {name: one for name, one in message.items() if name not in _ENVELOPE | {REFERENCE[topic]}}
