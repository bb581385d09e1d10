"""A replay as a person and a program read it: before, while and after."""

import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dataharvest.harvest.display import displayed

if TYPE_CHECKING:
    from dataharvest.replaying.choosing import Gone
    from dataharvest.replaying.requests import Replay, Request
    from dataharvest.replaying.run import Show

_LINE_EACH_S = 5.0


def say_gone(request: "Request", gone: "Sequence[Gone]") -> None:
    """What the topic has lost, and where it can still be had; nothing when it has lost nothing."""
    for one in gone:
        click.echo(one.sentence, err=True)
    if gone and request.topic == "chunks":
        click.echo("the same range can be read from the bucket: add --from-s3", err=True)
    elif gone:
        click.echo("what they said is in the ledger, and what that lacks the sweep finds: `dataharvest sweep --once`", err=True)


def say_nothing_there(request: "Request") -> None:
    """There is nothing to send."""
    hint = "; the bucket may still have it: add --from-s3" if request.topic == "chunks" and not request.from_s3 else ""
    click.echo(f"nothing to replay: there is no message in the range{hint}")


@contextmanager
def progress(replay: "Replay") -> "Iterator[Show]":
    """A bar on a terminal, a line now and then elsewhere."""
    say = _Lines(replay.replay_id)
    with displayed() as display:

        def show(*, passed: int, total: int, sent_count: int, sent_bytes: int) -> None:
            detail = f"{passed:,} of {total:,}, {sent_count:,} sent, {size_text(sent_bytes)}"
            display.show(f"replay {replay.replay_id}", done=passed, total=total, detail=detail)
            say(detail)

        yield show


class _Lines:
    """Now and then a line on stderr, where nobody sees a bar."""

    def __init__(self, replay_id: int) -> None:
        self._replay_id = replay_id
        self._said_at = time.monotonic()

    def __call__(self, detail: str) -> None:
        now = time.monotonic()
        if now - self._said_at >= _LINE_EACH_S and not click.get_text_stream("stderr").isatty():
            click.echo(f"replay {self._replay_id}: {detail}", err=True)
            self._said_at = now


class _Waiting(logging.Handler):
    """Says now and then, instead of the client's many lines, that Kafka does not answer."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._said_at = -math.inf

    def emit(self, record: logging.LogRecord) -> None:
        """One line, and then none for a while."""
        now = time.monotonic()
        if now - self._said_at >= 2 * _LINE_EACH_S:
            click.echo("Kafka does not answer; waiting for it (Ctrl-C twice ends this)", err=True)
            self._said_at = now


@contextmanager
def waiting_told() -> Iterator[None]:
    """A block in which an outage of Kafka is waited for, and somebody is told so."""
    logger, handler = logging.getLogger("aiokafka"), _Waiting()
    level, propagates = logger.level, logger.propagate
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagates


def print_result(replay: "Replay", *, sent_before: int, troubles: Sequence[str], as_json: bool) -> None:
    """How far it got, and how to go on."""
    if as_json:
        click.echo(json.dumps({**_row(replay), "troubles": list(troubles)}, indent=1, ensure_ascii=False))
    sent = f"{replay.sent_count - sent_before:,} messages sent, {replay.sent_count:,} in all ({size_text(replay.sent_bytes)})"
    for one in troubles:
        click.echo(one, err=True)
    if replay.left:
        state = "not done" if troubles else "interrupted"
        click.echo(f"replay {replay.replay_id} {state}: {sent}, {replay.left:,} of {replay.total:,} to go", err=True)
        click.echo(f"go on with: dataharvest replay --resume {replay.replay_id}", err=True)
    elif not as_json:
        click.echo(f"replay {replay.replay_id} done: {sent}")


def print_list(replays: "Sequence[Replay]", *, as_json: bool) -> None:
    """The replays, one a line."""
    if as_json:
        click.echo(json.dumps([_row(one) for one in replays], indent=1, ensure_ascii=False))
        return
    for one in replays:
        state = f"done {one.ended_at:%F %T}" if one.ended_at else f"not done, {one.left:,} of {one.total:,} to go"
        asked = one.request.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"topic"})
        words = " ".join(f"{name}={value}" for name, value in asked.items())
        sent = f"{one.sent_count:,} sent"
        click.echo(f"{one.replay_id}  {one.request.topic}  {words}  by {one.by_whom} {one.started_at:%F %T}  {sent}, {state}")
    if not replays:
        click.echo("nothing was ever replayed")


def _row(replay: "Replay") -> dict[str, Any]:
    return {
        "replay": replay.replay_id,
        "request": replay.request.model_dump(mode="json", exclude_none=True),
        "by": replay.by_whom,
        "started_at": replay.started_at.isoformat(),
        "ended_at": replay.ended_at.isoformat() if replay.ended_at else None,
        "sent": replay.sent_count,
        "bytes": replay.sent_bytes,
        "left": replay.left,
        "parts": [one._asdict() for one in replay.parts],
    }


def size_text(byte_count: int) -> str:
    """Bytes, for a person."""
    return f"{byte_count / 1e6:,.1f} MB" if byte_count >= 1_000_000 else f"{byte_count:,} bytes"
