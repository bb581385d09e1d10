"""The corpus of hostile files in ``tests/examples/hostile``: what each holds, and what must become of it."""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
import zstandard

FOLDER = Path(__file__).parent / "examples" / "hostile"
PIECE_BYTES = 1 << 16


@dataclass(frozen=True)
class Hostile:
    """One file and its outcome."""

    name: str
    why: str
    entity: str = "accounts"
    rows: int = 0
    """Records that are stored."""
    quarantined: dict[str, int] = field(default_factory=dict)
    """Records that are not, by rule."""
    rejected: str = ""
    """The rule under which the whole file is refused."""
    judged: dict[str, Any] = field(default_factory=dict)
    """Rows and quarantine after duplicates were looked for, where that makes a difference."""
    recipe: Sequence[Any] = ()

    @property
    def endings(self) -> str:
        """``.csv`` and what follows."""
        return self.name[self.name.index(".csv") :]

    @property
    def is_long(self) -> bool:
        """Whether it is made from a recipe, and may be longer than memory allows."""
        return bool(self.recipe)

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the object."""
        if not self.recipe:
            yield (FOLDER / self.name).read_bytes()
        elif self.endings == ".csv":
            yield from self._content()
        else:
            yield from _compressed(self._content(), ending=self.endings.removeprefix(".csv"))

    def _content(self) -> Iterator[bytes]:
        for part in self.recipe:
            text, count = (part, 1) if isinstance(part, str) else part
            data = text.encode()
            at_once = max(1, PIECE_BYTES // len(data))
            for done in range(0, count, at_once):
                yield data * min(at_once, count - done)


def _compressed(content: Iterator[bytes], *, ending: str) -> Iterator[bytes]:
    if ending == ".gz":
        packer: Any = zlib.compressobj(9, zlib.DEFLATED, 31)
    else:
        packer = zstandard.ZstdCompressor(level=3).compressobj()
    for piece in content:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


@cache
def corpus() -> tuple[Hostile, ...]:
    """Every file, by name."""
    known = yaml.safe_load((FOLDER / "expected.yaml").read_text("utf-8"))
    return tuple(Hostile(name, **terms) for name, terms in sorted(known.items()))
