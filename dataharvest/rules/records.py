"""Which records of a chunk are stored and which are quarantined, and the rows as COPY takes them."""

import re
from dataclasses import dataclass

from dataharvest.entities import Entity
from dataharvest.rules.cells import Problem
from dataharvest.rules.layout import Layout, layout_of
from dataharvest.rules.record_rules import RecordRule
from dataharvest.rules.scanning import Record, line_count
from dataharvest.rules.steps import Steps, at_once

MAX_RAW_BYTES = 64 * 1024
"""How much of a quarantined record is kept."""


@dataclass(frozen=True, kw_only=True)
class QuarantinedRecord:
    """A record that breaks a rule."""

    position: int
    """Index of the record in its chunk, from 0, blank lines not counted."""
    line: int
    """Physical line on which it starts."""
    byte_offset: int
    """Of its first byte, in the content."""
    byte_length: int
    """Without its line end."""
    column: str | None
    """The entity's column, where one is to blame."""
    rule: RecordRule
    message: str
    """One sentence; holds no value of a personal column."""
    raw: bytes
    """The record without its line end, at most 64 KiB of it."""
    record_count: int = 1
    """Records it stands for; more than one only where duplicates are too many to be kept one by one."""


@dataclass(frozen=True, kw_only=True)
class CheckedChunk:
    """Every record of a chunk, either a row to store or in quarantine."""

    copy_columns: tuple[str, ...]
    """Columns in the order of ``copy_text``."""
    copy_text: bytes
    """Rows for ``COPY … FORMAT text, DELIMITER ',', NULL ''``, each ended by a line feed."""
    record_count: int
    """Records read: ``persisted_count`` plus those quarantined."""
    persisted_count: int
    quarantined: tuple[QuarantinedRecord, ...]


def check_in_steps(
    data: bytes,
    *,
    entity: Entity,
    columns: tuple[str | None, ...],
    first_line: int,
    byte_offset: int,
    header_raw: bytes,
    delimiter: str = ",",
    decimal_mark: str = ".",
    misaligned_tail: bool = False,
    byte_length: int | None = None,
    step_bytes: int = 1 << 18,
) -> Steps[CheckedChunk]:
    """Judge each record of a chunk by itself: a bad one never changes what becomes of its neighbours.

    Args:
        data: whole records, as the splitter cut them; or the sample of a misaligned tail.
        entity: kind of file.
        columns: the entity's column for each field of the file, None for an ignored one.
        first_line: physical line of the chunk's first byte.
        byte_offset: place of that byte in the content.
        header_raw: the file's header record; a record equal to it is quarantined.
        delimiter: one ASCII character.
        decimal_mark: of amounts, ``.`` or ``,``; rows always have a point.
        misaligned_tail: the chunk counts as one record, which is quarantined.
        byte_length: length of the chunk in the content, where ``data`` is only a sample of it.
        step_bytes: how much is judged in one step, about; by default what takes half a millisecond, or two where the fastest
            way is not open.
    """
    layout = layout_of(entity, columns, header_raw, delimiter, decimal_mark)
    check = _Check(layout, data, first_line=first_line, byte_offset=byte_offset, step_bytes=step_bytes)
    if misaligned_tail:
        check.quarantine_tail(0, len(data) if byte_length is None else byte_length)
    else:
        yield from check.run()
    return check.result()


check_chunk = at_once(check_in_steps)


_BLANK_LINES = re.compile(rb"[\r\n]++")


class _Check:
    """One pass over a chunk: runs of plainly good records as they are, every other record by itself."""

    def __init__(self, layout: Layout, data: bytes, *, first_line: int, byte_offset: int, step_bytes: int) -> None:
        self._layout = layout
        self._content_length = len(data)
        # Every record gets a line end, so that the last one is like the others.
        self._data = data if data.endswith((b"\n", b"\r")) else data + b"\n"
        self._line = first_line
        self._byte_offset = byte_offset
        self._step_bytes = step_bytes
        self._rows: list[bytes] = []
        self._persisted_count = 0
        self._quarantined: list[QuarantinedRecord] = []

    def run(self) -> Steps[None]:
        """Judge every record of the chunk."""
        position = yield from self._skip_all_if_good()
        break_at = self._step_bytes // 2
        while position < self._content_length:
            start = position
            position = self._skip_good_records(self._skip_blank_lines(start))
            if position == start:
                position = self._judge_record(start)
            if position >= break_at:
                yield
                # A run ends a record before its step does.
                break_at = position + self._step_bytes // 2

    def quarantine_tail(self, start: int, byte_length: int) -> None:
        """Count everything from ``start`` as one record: where its records begin and end cannot be known."""
        message = "A quote never closes or a record is too long: from here on the records are misaligned."
        self._quarantine(start, byte_length, Problem("misaligned_tail", message))

    def result(self) -> CheckedChunk:
        """What became of the records judged so far."""
        return CheckedChunk(
            copy_columns=self._layout.copy_columns,
            copy_text=b"".join(self._rows),
            record_count=self._persisted_count + len(self._quarantined),
            persisted_count=self._persisted_count,
            quarantined=tuple(self._quarantined),
        )

    def _skip_all_if_good(self) -> Steps[int]:
        record_count = yield from self._layout.good_record_count(self._data, step_bytes=self._step_bytes)
        if record_count == 0:
            return 0
        self._rows.append(self._data)
        self._persisted_count = record_count
        return len(self._data)

    def _skip_good_records(self, start: int) -> int:
        end = self._end_of_run(start)
        if end == start:
            return start
        rows = self._layout.copy_rows(self._data[start:end])
        count = rows.count(b"\n")
        self._rows.append(rows)
        self._persisted_count += count
        self._line += count
        return end

    def _end_of_run(self, start: int) -> int:
        stop = start + self._step_bytes
        # The LF behind a CR belongs to it, and is no blank line.
        stop += self._data[stop - 1 : stop + 1] == b"\r\n"
        for run in (self._layout.plain_run, self._layout.quoted_run):
            found = run.match(self._data, start, stop)
            if found and found.end() > start:
                return found.end()
        return start

    def _judge_record(self, start: int) -> int:
        record = self._layout.scanner.record_at(self._data, start, len(self._data))
        if record is None:
            self.quarantine_tail(start, self._content_length - start)
            return self._content_length
        self._store_or_quarantine(record)
        self._line += line_count(self._data[start : record.following])
        return record.following

    def _skip_blank_lines(self, start: int) -> int:
        blank = _BLANK_LINES.match(self._data, start)
        if not blank:
            return start
        self._line += line_count(blank[0])
        return blank.end()

    def _store_or_quarantine(self, record: Record) -> None:
        raw = self._data[record.start : record.stop]
        cells = self._layout.scanner.fields(raw)
        if problem := self._layout.problem_of(record, raw, cells):
            self._quarantine(record.start, len(raw), problem)
            return
        self._rows.append(self._layout.copy_row(cells))
        self._persisted_count += 1

    def _quarantine(self, start: int, byte_length: int, problem: Problem) -> None:
        self._quarantined.append(
            QuarantinedRecord(
                position=self._persisted_count + len(self._quarantined),
                line=self._line,
                byte_offset=self._byte_offset + start,
                byte_length=byte_length,
                column=problem.column,
                rule=problem.rule,
                message=problem.message,
                raw=self._data[start : min(start + byte_length, start + MAX_RAW_BYTES, self._content_length)],
            )
        )
