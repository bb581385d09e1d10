"""How preparation shows what it is doing: a moving display on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

NAME_WIDTH = 10
DONE = "ready"
PLAIN_INTERVAL_S = 5.0


Tell = Callable[[str, str], None]
"""Called with a step's name and what it is doing now."""


@contextmanager
def shown(steps: Sequence[str]) -> Iterator[Tell]:
    """A function that shows how far each of ``steps`` is, on stderr."""
    if sys.stderr.isatty():
        with _on_terminal(steps) as tell:
            yield tell
    else:
        yield _PlainLines().tell


@contextmanager
def _on_terminal(steps: Sequence[str]) -> Iterator[Tell]:
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (SpinnerColumn(), TextColumn("{task.fields[step]:10}"), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as display:
        tasks = {step: display.add_task("waiting", step=step, total=None) for step in steps}

        def tell(step: str, text: str) -> None:
            display.update(tasks[step], description=text)
            if text == DONE:
                display.update(tasks[step], total=1, completed=1)

        yield tell


class _PlainLines:
    """Lines for logs: each step's first and last, and what lies between at most every few seconds."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def tell(self, step: str, text: str) -> None:
        now = time.monotonic()
        if text != DONE and now - self._told_at.get(step, -PLAIN_INTERVAL_S) < PLAIN_INTERVAL_S:
            return
        self._told_at[step] = now
        print(f"{step:{NAME_WIDTH}} {text}", file=sys.stderr, flush=True)
