"""What a person sees while a harvest runs: a bar on a terminal, a few lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Display(Protocol):
    """Shows how far a harvest is."""

    def show(self, stage: str, *, done: int, total: int, detail: str) -> None:
        """``done`` of ``total`` steps of a stage, or a total of 0 where nobody can tell; ``detail`` in a few words."""


@contextmanager
def displayed() -> Iterator[Display]:
    """A bar on stderr when that is a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[stage]:12}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        # Rich never takes a total back, so stages that have none get a bar of their own.
        measured = progress.add_task("", stage="starting", total=1, visible=False)
        unmeasured = progress.add_task("", stage="starting", total=None)

        class Bar:
            def show(self, stage: str, *, done: int, total: int, detail: str) -> None:
                shown, hidden = (measured, unmeasured) if total else (unmeasured, measured)
                progress.update(hidden, visible=False)
                progress.update(shown, visible=True, stage=stage, description=detail, completed=done, total=total or None)

        yield Bar()


class _Silent:
    def show(self, stage: str, *, done: int, total: int, detail: str) -> None:
        """Nothing."""


def say(line: str) -> None:
    """A line on stderr, for a person."""
    # A name may hold bytes that are no text.
    print(line.encode(errors="replace").decode(), file=sys.stderr, flush=True)
