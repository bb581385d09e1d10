"""Where a CSV record ends: one answer for the header, the splitter and the record check."""

import re
from functools import cache
from typing import NamedTuple

import numpy as np

LINE_FEED, CARRIAGE_RETURN, QUOTE = b'\n\r"'

# Records matched in one go before the search for the next quote begins again: long enough to hide the cost of a call,
# short enough that a file with one quote in a million lines is hardly parsed at all.
_RUN_RECORDS = 64

_COUNTED_AT_ONCE = 4096
"""So many bytes are worth what it takes numpy to begin."""


class Record(NamedTuple):
    """A record, or a blank line, and its place in a buffer."""

    start: int
    stop: int
    """End of the record, its line end not included."""
    following: int
    """Start of what follows: ``stop`` plus the line end."""
    stray_at: int | None
    """Where a quote, or text after a closing quote, breaks the rules; None in a well-formed record."""


class RecordScanner:
    """Finds record ends between two positions of a buffer.

    LF, CRLF and CR each end a record. A quote opens only at the start of a field; inside, delimiters and line ends are
    text and ``""`` is one quote. A quote elsewhere, or text after the closing quote, is stray: the record ends at the next
    line end, whatever quotes follow.

    ``stop`` must not lie between a CR and its LF.
    """

    def __init__(self, delimiter: str) -> None:
        separator = re.escape(delimiter.encode())
        # Possessive and atomic throughout: a position is visited once, whatever the input.
        field = rb'(?>"[^"]*+(?:""[^"]*+)*+"|[^"\r\n' + separator + rb"]*+)"
        fields = field + rb"(?:" + separator + field + rb")*+"
        self._delimiter = ord(delimiter)
        self._fields = re.compile(fields)
        self._run = re.compile(rb"(?:%b(?:\r\n?|\n)){0,%d}+" % (fields, _RUN_RECORDS))
        self._rest_of_line = re.compile(rb"[^\r\n]*+")
        self._cell = re.compile(rb'(?:\A|%b)(?:"([^"]*+(?:""[^"]*+)*+)"|([^%b]*+))' % (separator, separator))

    def record_at(self, buffer: bytes | bytearray, start: int, stop: int) -> Record | None:
        """The record that begins at ``start``, or None when it has no end before ``stop``."""
        end = _end_of(self._fields, buffer, start, stop)
        if end >= stop:
            return None
        stray_at = None
        if buffer[end] not in (LINE_FEED, CARRIAGE_RETURN):
            opens_a_field = end == start or buffer[end - 1] == self._delimiter
            if buffer[end] == QUOTE and opens_a_field:
                return None
            stray_at = end
            end = _end_of(self._rest_of_line, buffer, end, stop)
            if end >= stop:
                return None
        is_crlf = buffer[end] == CARRIAGE_RETURN and end + 1 < stop and buffer[end + 1] == LINE_FEED
        return Record(start, end, end + 2 if is_crlf else end + 1, stray_at)

    def fields(self, record: bytes) -> list[bytes]:
        """The cells of a well-formed record given without its line end, unquoted."""
        if b'"' not in record:
            return record.split(bytes((self._delimiter,)))
        return [quoted.replace(b'""', b'"') or plain for quoted, plain in self._cell.findall(record)]

    def last_end(self, buffer: bytes | bytearray, start: int, stop: int) -> int:
        """End of the last whole record (or blank line) between a record's ``start`` and ``stop``; ``start`` if none ends."""
        position = start
        while (quote := buffer.find(b'"', position, stop)) >= 0:
            line = _after_last_line_end(buffer, position, quote)
            position = _end_of(self._run, buffer, line, stop)
            record = self.record_at(buffer, position, stop)
            if record is None:
                return position
            position = record.following
        return _after_last_line_end(buffer, position, stop)


@cache
def scanner_for(delimiter: str) -> RecordScanner:
    """The scanner for a delimiter of one ASCII character."""
    return RecordScanner(delimiter)


def line_count(data: bytes) -> int:
    """Physical lines that end in ``data``; CRLF is one end."""
    count = _feed_count(data)
    if b"\r" in data:
        count += data.count(b"\r") - data.count(b"\r\n")
    return count


def _feed_count(data: bytes) -> int:
    if len(data) < _COUNTED_AT_ONCE:
        return data.count(b"\n")
    # For a byte that is as frequent as this, numpy counts four times as fast.
    return int(np.count_nonzero(np.frombuffer(data, dtype=np.uint8) == LINE_FEED))


def _end_of(pattern: re.Pattern[bytes], buffer: bytes | bytearray, start: int, stop: int) -> int:
    found = pattern.match(buffer, start, stop)
    # Every pattern here also matches the empty string.
    return found.end() if found else start


def _after_last_line_end(buffer: bytes | bytearray, start: int, stop: int) -> int:
    line_feed = buffer.rfind(b"\n", start, stop)
    # A CR matters only behind the last LF; before it there is nothing to gain.
    carriage_return = buffer.rfind(b"\r", max(start, line_feed), stop)
    return max(line_feed, carriage_return, start - 1) + 1
