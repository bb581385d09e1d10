"""How a stream of CSV bytes becomes chunks: the same chunks for the same bytes, in bounded memory."""

from dataclasses import dataclass

from dataharvest.rules.scanning import CARRIAGE_RETURN, LINE_FEED, line_count, scanner_for

TAIL_SAMPLE_BYTES = 64 * 1024
"""How much of a misaligned tail is kept as a sample."""
_LARGE_BYTES = 64 << 20
_MOST_CHUNK_BYTES = 3_500_000
"""What a message of the topic ``chunks`` can hold, whatever its bytes are."""


def chunk_bytes_for(object_bytes: int, *, chunk_bytes: int) -> int:
    """The length of the chunks of an object of this size, in bytes: of one of 64 MiB or more twice the usual.

    Each chunk costs its messages, statements and commit whatever it holds, and of a large file there are enough to keep
    every worker busy all the same.
    """
    return min(2 * chunk_bytes, _MOST_CHUNK_BYTES) if object_bytes >= _LARGE_BYTES else chunk_bytes


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One chunk, or the misaligned tail that ends a file."""

    index: int
    byte_offset: int
    """Of the first byte, in the content."""
    byte_length: int
    """Length in the content; more than ``len(data)`` only for a tail."""
    data: bytes
    first_line: int
    """Physical line, from 1, of the first byte."""
    misaligned_tail: bool = False


class RecordSplitter:
    """Cuts the content that follows the header into chunks of whole records.

    A chunk is the longest run of whole records (a blank line counts as one here) of at most ``chunk_bytes``, or one record
    alone if that is longer. Chunks tile the content and do not depend on the sizes of the pieces fed. A record of more than
    ``max_record_bytes``, line end included, or one whose quote never closes, makes everything from its first byte the
    misaligned tail: one last piece from `finish` with a sample of at most 64 KiB.

    Args:
        chunk_bytes: longest chunk, in bytes; positive.
        max_record_bytes: longest record, in bytes; positive.
        byte_offset: place in the content of the first byte that will be fed.
        first_line: physical line, from 1, of that byte.
        delimiter: one ASCII character.
    """

    def __init__(
        self, *, chunk_bytes: int, max_record_bytes: int = 1 << 20, byte_offset: int, first_line: int, delimiter: str = ","
    ) -> None:
        self._scanner = scanner_for(delimiter)
        self._chunk_bytes = chunk_bytes
        self._max_record_bytes = max_record_bytes
        self._buffer = bytearray()
        self._index = 0
        self._offset = byte_offset
        self._end_offset = byte_offset
        self._line = first_line
        self._in_tail = False
        self._finished = False
        self._sentinel_bytes = 0
        self._worth_scanning_at = 0

    @property
    def end_offset(self) -> int:
        """Place in the content behind the last byte fed: the content's length, once all is fed."""
        return self._end_offset

    @property
    def next_line(self) -> int:
        """Physical line of the first byte not yet in a chunk."""
        return self._line

    def feed(self, piece: bytes) -> list[Piece]:
        """The chunks that are certain now that ``piece`` has come, in order; often none."""
        self._end_offset += len(piece)
        if self._in_tail:
            self._buffer += piece[: max(0, TAIL_SAMPLE_BYTES - len(self._buffer))]
            return []
        self._buffer += piece
        return self._cut()

    def finish(self) -> list[Piece]:
        """The remaining chunks, and the misaligned tail if there is one; call it once, after the last `feed`."""
        self._finished = True
        if self._buffer and not self._in_tail and self._buffer[-1] not in (LINE_FEED, CARRIAGE_RETURN):
            # A last record without a line end gets one that `_take` leaves out again, so that it is like any other.
            self._buffer += b"\n"
            self._sentinel_bytes = 1
        pieces = self._cut()
        return [*pieces, self._tail()] if self._in_tail else pieces

    def _cut(self) -> list[Piece]:
        pieces = []
        while length := self._next_length():
            pieces.append(self._take(length))
        return pieces

    def _next_length(self) -> int:
        """Length of the next chunk, 0 when there is none (yet)."""
        length = len(self._buffer) - self._sentinel_bytes
        # One byte more than a chunk must be there: an LF behind a last CR belongs to it.
        if self._in_tail or length == 0 or not (self._finished or length > self._chunk_bytes):
            return 0
        return self._run_length() or self._first_record_length()

    def _run_length(self) -> int:
        limit = self._stop(0, self._chunk_bytes)
        done = 0
        while done < limit:
            end = self._scanner.last_end(self._buffer, done, min(limit, self._stop(done, self._max_record_bytes)))
            if end == done:
                break
            done = end
        return done

    def _first_record_length(self) -> int:
        length = len(self._buffer)
        if not self._finished and length < self._worth_scanning_at:
            return 0
        record = self._scanner.record_at(self._buffer, 0, self._stop(0, self._max_record_bytes))
        # A record is scanned again only when it has doubled: small pieces must not make the work quadratic.
        self._worth_scanning_at = 0 if record else min(2 * length, self._max_record_bytes + 1)
        if record is None and (self._finished or length > self._max_record_bytes):
            self._enter_tail()
        return record.following if record else 0

    def _stop(self, start: int, size: int) -> int:
        """``start + size``, or less where the buffer ends or a CRLF would be cut."""
        stop = start + size
        if stop >= len(self._buffer) - self._sentinel_bytes:
            last_may_be_half = not self._finished and self._buffer[-1] == CARRIAGE_RETURN
            return len(self._buffer) - last_may_be_half
        cuts_crlf = self._buffer[stop - 1] == CARRIAGE_RETURN and self._buffer[stop] == LINE_FEED
        return stop - cuts_crlf

    def _take(self, length: int) -> Piece:
        length = min(length, len(self._buffer) - self._sentinel_bytes)
        with memoryview(self._buffer) as view:
            data = bytes(view[:length])
        del self._buffer[:length]
        piece = Piece(index=self._index, byte_offset=self._offset, byte_length=length, data=data, first_line=self._line)
        self._index += 1
        self._offset += length
        self._line += line_count(data)
        return piece

    def _enter_tail(self) -> None:
        self._in_tail = True
        del self._buffer[len(self._buffer) - self._sentinel_bytes :]
        del self._buffer[TAIL_SAMPLE_BYTES:]
        self._sentinel_bytes = 0

    def _tail(self) -> Piece:
        return Piece(
            index=self._index,
            byte_offset=self._offset,
            byte_length=self._end_offset - self._offset,
            data=bytes(self._buffer),
            first_line=self._line,
            misaligned_tail=True,
        )
