"""How compressed objects become a stream of plain bytes, with limits a bomb cannot pass."""

import zlib
from collections.abc import Iterator
from typing import Protocol

import zstandard

from dataharvest.errors import Rejected

MAX_PIECE_BYTES = 1 << 20
"""Longest piece a decompressor gives."""
FREE_BYTES = 1 << 20
"""Content of up to this length may have any compression ratio."""

# A zstd block of a few bytes may stand for 128 KiB, and the binding cannot stop in between: short slices of input
# are what bounds its output, to 32 MiB at worst.
_ZSTD_SLICE_BYTES = 1024
_MAX_ZSTD_WINDOW_BYTES = 1 << 27
_GZIP_WBITS = 31


class Decompressor(Protocol):
    """Turns the bytes of an object into the bytes of its content, piece by piece."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The content that ``piece`` yields, in pieces of at most 1 MiB; to be read to its end before the next call.

        Raises:
            Rejected: with rule ``corrupt_compression``, ``compression_ratio`` or ``content_too_long``.
        """

    def finish(self) -> None:
        """Says that the object has ended.

        Raises:
            Rejected: with rule ``truncated_compression``: the compressed stream has not.
        """


def decompressor_for(object_key: str, *, max_ratio: int = 200, max_content_bytes: int) -> Decompressor:
    """The decompressor for an object, by the end of its key: ``.gz``, ``.zst``, anything else is plain.

    Args:
        object_key: only its ending matters, in any case.
        max_ratio: content bytes per object byte; counts once more than 1 MiB of content has come.
        max_content_bytes: longest content.
    """
    limits = _Limits(max_ratio=max_ratio, max_content_bytes=max_content_bytes)
    kinds = (kind for ending, kind in _BY_ENDING.items() if object_key.lower().endswith(ending))
    return next(kinds, _Plain)(limits)


def is_compressed(object_key: str) -> bool:
    """Whether the content of an object is other bytes than the object's."""
    return object_key.lower().endswith(tuple(_BY_ENDING))


class _Limits:
    def __init__(self, *, max_ratio: int, max_content_bytes: int) -> None:
        self._max_ratio = max_ratio
        self._max_content_bytes = max_content_bytes
        self._content_bytes = 0
        self._object_bytes = 0

    def take(self, byte_length: int) -> None:
        """Count bytes of the object that have been read."""
        self._object_bytes += byte_length

    def pieces(self, content: bytes) -> Iterator[bytes]:
        """The content in bounded pieces, if the limits allow it."""
        self._content_bytes += len(content)
        if self._content_bytes > self._max_content_bytes:
            message = f"The content is longer than {self._max_content_bytes} bytes."
            raise Rejected(message, rule="content_too_long", limit=self._max_content_bytes)
        if self._content_bytes > max(FREE_BYTES, self._max_ratio * self._object_bytes):
            message = f"The content is more than {self._max_ratio} times as long as the object."
            raise Rejected(message, rule="compression_ratio", limit=self._max_ratio)
        for start in range(0, len(content), MAX_PIECE_BYTES):
            yield content if len(content) <= MAX_PIECE_BYTES else content[start : start + MAX_PIECE_BYTES]


class _Plain:
    def __init__(self, limits: _Limits) -> None:
        self._limits = limits

    def feed(self, piece: bytes) -> Iterator[bytes]:
        self._limits.take(len(piece))
        return self._limits.pieces(piece)

    def finish(self) -> None:
        """Plain content may end anywhere."""


class _Gzip:
    """Members one after the other; zeros between and behind them are padding."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._member = zlib.decompressobj(_GZIP_WBITS)
        self._in_member = True

    def feed(self, piece: bytes) -> Iterator[bytes]:
        rest = piece
        while rest:
            if not self._in_member:
                rest = self._skip_padding(rest)
                continue
            content = self._decompress(rest)
            left = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            self._limits.take(len(rest) - len(left))
            yield from self._limits.pieces(content)
            rest = left
            # Output that waits inside zlib comes with the next input or, at the end mark at the latest, before `eof`.
            self._in_member = not self._member.eof

    def finish(self) -> None:
        if self._in_member:
            raise _truncated("gzip")

    def _skip_padding(self, data: bytes) -> bytes:
        rest = data.lstrip(b"\0")
        self._limits.take(len(data) - len(rest))
        if rest:
            self._member = zlib.decompressobj(_GZIP_WBITS)
            self._in_member = True
        return rest

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, MAX_PIECE_BYTES)
        except zlib.error as error:
            raise _corrupt("gzip", error) from error


class _Zstd:
    """Frames one after the other; skippable frames hold no content."""

    def __init__(self, limits: _Limits) -> None:
        self._limits = limits
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_ZSTD_WINDOW_BYTES)
        self._frame = self._decompressor.decompressobj()
        self._in_frame = True

    def feed(self, piece: bytes) -> Iterator[bytes]:
        for start in range(0, len(piece), _ZSTD_SLICE_BYTES):
            rest = piece[start : start + _ZSTD_SLICE_BYTES]
            while rest:
                content = self._decompress(rest)
                left = self._frame.unused_data
                self._limits.take(len(rest) - len(left))
                yield from self._limits.pieces(content)
                rest = left

    def finish(self) -> None:
        if self._in_frame:
            raise _truncated("zstd")

    def _decompress(self, data: bytes) -> bytes:
        if not self._in_frame:
            self._frame = self._decompressor.decompressobj()
        try:
            content = self._frame.decompress(data)
        except zstandard.ZstdError as error:
            raise _corrupt("zstd", error) from error
        self._in_frame = not self._frame.eof
        return content


_BY_ENDING: dict[str, type[_Gzip | _Zstd]] = {".gz": _Gzip, ".zst": _Zstd}


def _truncated(name: str) -> Rejected:
    return Rejected(f"The {name} stream ends before its end mark.", rule="truncated_compression")


def _corrupt(name: str, error: Exception) -> Rejected:
    return Rejected(f"The {name} stream is damaged: {error}.", rule="corrupt_compression")
