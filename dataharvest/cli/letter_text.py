"""Dead letters as a person and a program read them."""

import base64
from collections.abc import Sequence
from typing import Any

from dataharvest.replaying.dead_letters import DeadLetter, LetterAction, LetterContent, name_of

_SHOWN_BYTES = 2_000


def line_of(letter: DeadLetter) -> str:
    """One line of a list."""
    state = "" if letter.state == "open" else f" [{letter.state}]"
    return f"  {letter.name}{state}  {letter.failed_at:%F %T} UTC  {letter.stage}  {letter.rule}: {letter.reason}"


def as_row(letter: DeadLetter) -> dict[str, Any]:
    """What a program gets of a list."""
    return {
        "message": letter.name,
        "topic": letter.position.topic,
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "stage": letter.stage,
        "rule": letter.rule,
        "reason": letter.reason,
        "failed_at": letter.failed_at.isoformat(),
        "state": letter.state,
    }


def as_action(action: LetterAction) -> dict[str, Any]:
    """What a program gets of the history."""
    return {
        "message": name_of(action.position),
        "action": action.action,
        "by": action.by_whom,
        "reason": action.reason,
        "acted_at": action.acted_at.isoformat(),
        "sent_to": None if action.sent_to is None else name_of(action.sent_to),
    }


def action_line(action: LetterAction) -> str:
    """One line of the history."""
    sent = f", as {name_of(action.sent_to)}" if action.sent_to else ""
    reason = f": {action.reason}" if action.reason else ""
    return f"{action.acted_at:%F %T} UTC  {name_of(action.position)} {action.action} by {action.by_whom}{sent}{reason}"


def with_content(letter: DeadLetter, history: Sequence[LetterAction], content: LetterContent | None) -> dict[str, Any]:
    """Everything about one, for a program; bytes in base64."""
    row = {**as_row(letter), "history": [as_action(one) for one in history]}
    if content is None:
        return row
    headers = [[name, _base64(value)] for name, value in content.headers]
    return {**row, "details": content.details, "key": _base64(content.key), "headers": headers, "value": _base64(content.value)}


def full_text(letter: DeadLetter, history: Sequence[LetterAction], content: LetterContent | None) -> str:
    """Everything about one, for a person."""
    lines = [
        f"{letter.name}, {letter.state}",
        f"  stage {letter.stage}, rule {letter.rule}, {letter.failed_at:%F %T} UTC",
        f"  {letter.reason}",
    ]
    lines += [f"  {action_line(one)}" for one in history]
    if content is not None:
        lines += [f"  {name}: {value}" for name, value in content.details.items()]
        lines.append(f"  key: {_readable(content.key)}")
        lines += [f"  header {name}: {_readable(value)}" for name, value in content.headers]
        lines.append(f"  value, {len(content.value or b''):,} bytes: {_readable(content.value)}")
    return "\n".join(lines)


def _readable(data: bytes | None) -> str:
    if data is None:
        return "none"
    # Control characters of a poisoned message must not reach the terminal.
    text = data[:_SHOWN_BYTES].decode("utf-8", errors="backslashreplace")
    shown = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return f"{shown} …" if len(data) > _SHOWN_BYTES else shown


def _base64(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()
