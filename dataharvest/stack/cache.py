"""Where prepared downloads and builds are kept, and when one of them counts as done."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """The user's cache directory for this program: ``$XDG_CACHE_HOME`` or ``~/.cache``, then ``dataharvest``."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(configured) if configured else Path.home() / ".cache") / "dataharvest"


@contextmanager
def built_whole(target: Path) -> Iterator[Path]:
    """A directory to build in, which becomes ``target`` when the block ends without an error.

    ``target`` existing therefore means that it is complete. What an interrupted block leaves
    is found again by the next one, so that it can go on from there.
    """
    partial = target.with_name(f"{target.name}.partial")
    partial.mkdir(parents=True, exist_ok=True)
    yield partial
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)
