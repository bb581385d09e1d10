"""How content in another encoding becomes plain UTF-8 before anything else looks at it."""

import codecs
from typing import Protocol

from dataharvest.errors import Rejected
from dataharvest.rules.scanning import line_count


class Transcoder(Protocol):
    """Turns content into UTF-8, piece by piece; the result does not depend on where the pieces were cut."""

    def feed(self, piece: bytes) -> bytes:
        """The UTF-8 that is certain now that ``piece`` has come; perhaps none.

        What is no character of the encoding becomes bytes that are not UTF-8: they cost the record they are in, not the file.

        Raises:
            Rejected: rule ``encoding``: the content is not in this encoding at all.
        """

    def finish(self) -> bytes:
        """The rest.

        Raises:
            Rejected: rule ``encoding``: the content ends inside a character.
        """


def transcoder_for(encoding: str) -> Transcoder:
    """The transcoder for ``utf-8``, ``utf-16``, ``iso-8859-1`` or ``windows-1252``; UTF-8 is handed on as it is."""
    if encoding == "utf-8":
        return _Plain()
    if encoding == "utf-16":
        return _Utf16()
    return _Decoding(encoding, errors="surrogateescape")


class _Plain:
    def feed(self, piece: bytes) -> bytes:
        return piece

    def finish(self) -> bytes:
        return b""


class _Decoding:
    """A decoder of Python's; a character it does not know leaves as a lone surrogate, and that as bytes that are not UTF-8."""

    def __init__(self, encoding: str, *, errors: str) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._errors = errors
        self._line_count = 0
        self._last = b""

    def feed(self, piece: bytes) -> bytes:
        content = self._decoder.decode(piece).encode("utf-8", self._errors)
        is_cut_crlf = self._last == b"\r" and content.startswith(b"\n")
        self._line_count += line_count(content) - is_cut_crlf
        self._last = content[-1:] or self._last
        return content

    def finish(self) -> bytes:
        try:
            return self._decoder.decode(b"", final=True).encode("utf-8", self._errors)
        except UnicodeDecodeError as error:
            line = self._line_count + 1
            raise Rejected("The content ends inside a character: a part is missing.", rule="encoding", line=line) from error


class _Utf16:
    """Either byte order, by the byte order mark or else by the first character, which is ASCII in every header."""

    def __init__(self) -> None:
        self._start = b""
        self._decoding: _Decoding | None = None

    def feed(self, piece: bytes) -> bytes:
        if self._decoding:
            return self._decoding.feed(piece)
        self._start += piece
        if len(self._start) < 2:
            return b""
        encoding, mark_bytes = _byte_order(self._start[:2])
        self._decoding = _Decoding(encoding, errors="surrogatepass")
        return self._decoding.feed(self._start[mark_bytes:])

    def finish(self) -> bytes:
        if self._decoding:
            return self._decoding.finish()
        if self._start:
            raise Rejected("The content is one byte long, which UTF-16 can't be.", rule="encoding", line=1)
        return b""


def _byte_order(first: bytes) -> tuple[str, int]:
    if first in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return ("utf-16-le" if first == codecs.BOM_UTF16_LE else "utf-16-be"), 2
    if first[0] and not first[1]:
        return "utf-16-le", 0
    if first[1] and not first[0]:
        return "utf-16-be", 0
    raise Rejected("The contract says UTF-16, but the content does not begin like that.", rule="encoding", line=1)
