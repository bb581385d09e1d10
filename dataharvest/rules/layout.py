"""What the chunks of a file share: its columns, and the patterns that tell good records at a glance."""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np

from dataharvest.entities import Column, Entity, Kind
from dataharvest.rules.cells import Problem, copy_cell, is_text, plain_pattern, problem_of, swift_pattern, with_point
from dataharvest.rules.record_rules import RecordRule
from dataharvest.rules.scanning import Record, RecordScanner, scanner_for
from dataharvest.rules.steps import Steps

_SAID_ONE_BY_ONE = 16
_LINE_FEED, _COMMA = b"\n,"


class Layout:
    """The columns of a file and everything prepared from them; make it with `layout_of`."""

    def __init__(
        self, entity: Entity, columns: tuple[str | None, ...], header_raw: bytes, delimiter: str, decimal_mark: str
    ) -> None:
        by_name = {column.name: column for column in entity.columns}
        self._columns: list[Column | None] = [by_name[name] if name else None for name in columns]
        self._header_raw = header_raw
        self._delimiter = delimiter.encode()
        self._decimal_mark = decimal_mark
        self.kept = [index for index, column in enumerate(self._columns) if column]
        """Indexes of the fields that are stored."""
        self.copy_columns = tuple(name for name in columns if name)
        self.scanner: RecordScanner = scanner_for(delimiter)
        self.plain_run = self._run(b"%b")
        """Good records in a row, one a line, that `copy_rows` turns into rows."""
        self.quoted_run = self._run(b'(?>"%b"|%b)')
        """The same, any cell in quotes or not."""
        self._swift_run = self._swift()

    def good_record_count(self, data: bytes, *, step_bytes: int) -> Steps[int]:
        """Records of a chunk whose bytes are rows for COPY just as they are; 0 if any of them may not be.

        This is the way of nearly all chunks, so it is a few passes of the fastest kind over the whole of it. The slowest is
        made in steps; a record that is longer than one counts as one that may not be.
        """
        is_special = any(byte in data for byte in (b'"', b"\\", b"\r"))
        if self._swift_run is None or is_special or not is_text(data):
            return 0
        position = 0
        while position < len(data):
            found = self._swift_run.match(data, position, position + step_bytes)
            if found is None:
                return 0
            position = found.end()
            yield
        # For bytes that are as frequent as these, numpy counts four times as fast as `bytes.count`.
        codes = np.frombuffer(data, dtype=np.uint8)
        lines = int(np.count_nonzero(codes == _LINE_FEED))
        # Each record has exactly its commas; a text that ran over a line feed makes the lines more than that.
        return lines if int(np.count_nonzero(codes == _COMMA)) == lines * (len(self._columns) - 1) else 0

    def copy_rows(self, block: bytes) -> bytes:
        """The rows of a block that a run matched."""
        if b'"' in block:
            block = block.replace(b'"', b"")
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._decimal_mark == ",":
            # No other cell of a run holds a comma, and where fields are parted by it no amount of a run has decimals.
            block = block if self._delimiter == b"," else block.replace(b",", b".")
        if len(self.kept) < len(self._columns):
            rows = (line.split(self._delimiter) for line in block.splitlines())
            return b"".join([b",".join([row[index] for index in self.kept]) + b"\n" for row in rows])
        return block if self._delimiter == b"," else block.replace(self._delimiter, b",")

    def copy_row(self, cells: list[bytes]) -> bytes:
        """The row of a good record, whatever its cells hold."""
        return b",".join([copy_cell(self._with_point(cells[index], self._columns[index])) for index in self.kept]) + b"\n"

    def problem_of(self, record: Record, raw: bytes, cells: list[bytes]) -> Problem | None:
        """The first rule that a record breaks, or None."""
        if record.stray_at is not None:
            return self._stray_quote(raw[: record.stray_at - record.start])
        if raw == self._header_raw:
            return Problem("repeated_header", "The header is repeated.")
        if len(cells) != len(self._columns):
            rule: RecordRule = "too_few_fields" if len(cells) < len(self._columns) else "too_many_fields"
            return Problem(rule, f"The record has {len(cells)} fields where the header has {len(self._columns)}.")
        return problem_of(cells, self._columns, self._decimal_mark)

    def _with_point(self, cell: bytes, column: Column | None) -> bytes:
        has_comma = self._decimal_mark == "," and column is not None and column.kind is Kind.MONEY
        return with_point(cell) if has_comma else cell

    def _stray_quote(self, before: bytes) -> Problem:
        index = len(self.scanner.fields(before)) - 1
        column = self._columns[index] if index < len(self._columns) else None
        place = f"field {index + 1} ({column.name})" if column else f"field {index + 1}"
        message = f"A quote stands within {place}, or text follows its closing quote."
        return Problem("stray_quote", message, column.name if column else None)

    def _run(self, cell_form: bytes) -> re.Pattern[bytes]:
        special = rb'",\\\r\n' + re.escape(self._delimiter)
        # Where commas part the fields too, an amount with decimals is in quotes and takes the slower way.
        mark = "" if self._decimal_mark == self._delimiter.decode() else self._decimal_mark
        patterns = [plain_pattern(column, special=special, decimal_mark=mark) for column in self._columns]
        cells = [cell_form.replace(b"%b", pattern) for pattern in patterns]
        record = _joined(cells, re.escape(self._delimiter))
        is_like_header = re.fullmatch(record, self._header_raw) is not None
        not_header = rb"(?!" + re.escape(self._header_raw) + rb"[\r\n])" if is_like_header else b""
        # A line with a single optional cell would match a blank line, which is no record.
        not_blank = rb"(?![\r\n])" if len(cells) == 1 else b""
        return re.compile(rb"(?:" + not_header + not_blank + record + rb"(?:\r\n?|\n))*+")

    def _swift(self) -> re.Pattern[bytes] | None:
        known = [column for column in self._columns if column]
        if len(known) < len(self._columns) or len(known) == 1 or self._delimiter != b"," or self._decimal_mark != ".":
            return None
        cells = [swift_pattern(column, end=b",") for column in known[:-1]]
        record = b"".join(cells) + swift_pattern(known[-1], end=b"\n")
        run = re.compile(b"(?:" + record + b")++")
        return None if run.fullmatch(self._header_raw + b"\n") else run


def _joined(cells: Sequence[bytes], delimiter: bytes) -> bytes:
    """A pattern of the cells with the delimiter in between; many equal ones are said once, for the pattern has to be compiled."""
    runs = ((cell, len(list(run))) for cell, run in groupby(cells))
    return delimiter.join(
        cell + b"(?:%b%b){%d}" % (delimiter, cell, count - 1) if count > _SAID_ONE_BY_ONE else delimiter.join([cell] * count)
        for cell, count in runs
    )


@lru_cache(maxsize=256)
def layout_of(
    entity: Entity, columns: tuple[str | None, ...], header_raw: bytes, delimiter: str, decimal_mark: str = "."
) -> Layout:
    """The layout of a file; files with equal headers share one."""
    return Layout(entity, columns, header_raw, delimiter, decimal_mark)
