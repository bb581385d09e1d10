"""Text as a person may see it; from outside: nothing hidden, nothing turned around, nothing that moves a terminal's cursor."""

import unicodedata

_SHOWN_AS_THEY_ARE = frozenset("\u200d\ufe0f")
"""Joiner and variation selector: parts of ordinary writing and of emoji."""
_UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


def counted(count: int, one: str, more: str | None = None) -> str:
    """So many of something: "1 copy", "2 copies"; ``more`` unless it is ``one`` with an s."""
    return f"{count:,} {one if count == 1 else more or f'{one}s'}"


def orphans_text(count: int, kind: str) -> str:
    """So many records of a kind of orphan: "1 transaction without an account", "2 transactions without an account"."""
    records, without, what = kind.partition(" ")
    return counted(count, f"{records.removesuffix('s')}{without}{what}", kind)


def visible(text: str) -> str:
    """The text with every control, direction and other unseen character written as an escape, the way Python writes it."""
    return text if text.isascii() and text.isprintable() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    if character in _SHOWN_AS_THEY_ARE or unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
