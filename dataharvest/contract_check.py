"""How far a sample of a sender's file fits its entity under a contract: a finding per column, with lines as examples."""

from dataclasses import dataclass, field, replace

from dataharvest.contract_sample import Sample
from dataharvest.contracts import Contract
from dataharvest.entities import Column, Entity
from dataharvest.errors import Rejected
from dataharvest.rules.cells import problem_of
from dataharvest.rules.header import MAX_HEADER_BYTES, Header, read_header
from dataharvest.rules.layout import Layout, layout_of
from dataharvest.rules.scanning import Record, line_count

EXAMPLE_COUNT = 3
"""Lines that are named of each finding."""

_USUAL_DELIMITERS = ",;|\t"
_SHOWN_CHARACTERS = 40
_LONGEST_CUT_RECORD = 64 * 1024


@dataclass
class Finding:
    """One way in which cells or records do not fit."""

    rule: str
    count: int = 0
    examples: list[tuple[int, str | None]] = field(default_factory=list)
    """Line and value of the first few; no value where it may be personal."""

    def add(self, line: int, value: str | None) -> None:
        """Count one more."""
        self.count += 1
        if len(self.examples) < EXAMPLE_COUNT:
            self.examples.append((line, value))


@dataclass
class ColumnReport:
    """How one column of the entity, or one field of the file, fits."""

    column: Column | None
    """None for a field that is not loaded."""
    header_name: str | None
    """What the file calls it; None where the file lacks it."""
    findings: dict[str, Finding] = field(default_factory=dict)
    """By rule."""

    @property
    def fits(self) -> bool:
        """Whether the column is as it has to be; one more or an optional one less does no harm."""
        is_lacking = self.header_name is None and self.column is not None and self.column.mandatory
        return not self.findings and not is_lacking


@dataclass
class SampleReport:
    """What a sender has to know about a file."""

    entity: Entity
    contract: Contract
    is_whole: bool
    content_bytes: int
    rejected: Rejected | None = None
    """Why the file as a whole can't be read."""
    record_count: int = 0
    columns: list[ColumnReport] = field(default_factory=list)
    records: dict[str, Finding] = field(default_factory=dict)
    """Findings about whole records, by rule."""

    @property
    def fits(self) -> bool:
        """Whether nothing of what was looked at would be rejected or quarantined."""
        return not self.rejected and not self.records and all(one.fits for one in self.columns)


def check_sample(sample: Sample, *, entity: str, contract: Contract) -> SampleReport:
    """Judge the header and every whole record of a sample; each cell by itself, so that one mistake hides no other."""
    known = contract.entity(entity)
    report = SampleReport(entity=known, contract=contract, is_whole=sample.is_whole, content_bytes=len(sample.content))
    try:
        header = _read_any_header(sample, known, contract)
    except Rejected as reason:
        report.rejected = reason
        return report
    report.columns = _columns(known, header, contract)
    _Judging(report, header).run(sample)
    return report


def _read_any_header(sample: Sample, entity: Entity, contract: Contract) -> Header:
    # A header that lacks a column is read all the same: the rest of the file deserves a look too.
    lenient = replace(entity, columns=tuple(replace(column, mandatory=False) for column in entity.columns))
    header = read_header(sample.content, entity=lenient, at_end=sample.is_whole, delimiter=contract.delimiter)
    if header is None:
        raise Rejected(f"The header does not end within {MAX_HEADER_BYTES} bytes.", rule="header_too_long", line=1)
    if not any(header.columns):
        # Where the header was left out these names are values of the first record, and may be shown to nobody.
        found = _other_delimiter(sample, lenient, contract)
        reason = f"fields are parted by {found!r} instead" if found else "the header is missing, or its delimiter is another"
        message = f"The first record names no column of {entity.name}: {reason}."
        raise Rejected(message, rule="missing_column", line=header.line_count)
    return header


def _other_delimiter(sample: Sample, entity: Entity, contract: Contract) -> str | None:
    for delimiter in _USUAL_DELIMITERS.replace(contract.delimiter, ""):
        try:
            header = read_header(sample.content, entity=entity, at_end=sample.is_whole, delimiter=delimiter)
        except Rejected:
            continue
        if header and any(header.columns):
            return delimiter
    return None


def _columns(entity: Entity, header: Header, contract: Contract) -> list[ColumnReport]:
    layout = _layout(entity, header, contract)
    names = [cell.decode().strip() for cell in layout.scanner.fields(header.raw)]
    by_name = {column.name: column for column in entity.columns}
    present = [ColumnReport(by_name[name] if name else None, shown) for name, shown in zip(header.columns, names, strict=True)]
    lacking = [ColumnReport(column, None) for column in entity.columns if column.name not in header.columns]
    return [*present, *lacking]


def _layout(entity: Entity, header: Header, contract: Contract) -> Layout:
    return layout_of(entity, header.columns, header.raw, contract.delimiter, contract.decimal_mark)


class _Judging:
    """One pass over the records of a sample."""

    def __init__(self, report: SampleReport, header: Header) -> None:
        self._report = report
        self._header = header
        self._layout = _layout(report.entity, header, report.contract)
        self._line = header.line_count + 1

    def run(self, sample: Sample) -> None:
        """Add to the report what is found."""
        position = self._header.byte_length
        data = sample.content
        if sample.is_whole and not data.endswith((b"\n", b"\r")):
            data += b"\n"
        # The LF of a CRLF may lie behind the sample's end.
        stop = len(data) - (not sample.is_whole and data.endswith(b"\r"))
        while position < stop and (record := self._layout.scanner.record_at(data, position, stop)):
            if record.stop > record.start:
                self._judge(record, data[record.start : record.stop])
            self._line += line_count(data[record.start : record.following])
            position = record.following
        if position < stop and (sample.is_whole or stop - position > _LONGEST_CUT_RECORD):
            self._report.record_count += 1
            self._note(self._report.records, "misaligned_tail", None)

    def _judge(self, record: Record, raw: bytes) -> None:
        self._report.record_count += 1
        cells = [] if record.stray_at is not None else self._layout.scanner.fields(raw)
        is_whole = record.stray_at is None and raw != self._header.raw and len(cells) == len(self._header.columns)
        if not is_whole:
            problem = self._layout.problem_of(record, raw, cells)
            assert problem is not None
            self._note(self._report.records, problem.rule, None)
            return
        for cell, column in zip(cells, self._report.columns, strict=False):
            if problem := problem_of((cell,), (column.column,), self._report.contract.decimal_mark):
                self._note(column.findings, problem.rule, _value(cell, column.column))

    def _note(self, findings: dict[str, Finding], rule: str, value: str | None) -> None:
        findings.setdefault(rule, Finding(rule)).add(self._line, value)


def _value(cell: bytes, column: Column | None) -> str | None:
    """What may be shown of a cell: nothing of a personal column, nor of one that nobody knows."""
    if column is None or column.personal or not cell:
        return None
    text = cell.decode(errors="replace")
    return ascii(text[:_SHOWN_CHARACTERS]) + ("…" if len(text) > _SHOWN_CHARACTERS else "")
