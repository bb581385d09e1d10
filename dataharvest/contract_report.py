"""The text that tells a sender what does not fit in a file; it holds no personal value, so it can be mailed."""

from collections.abc import Iterator

from dataharvest.contract_check import ColumnReport, Finding, SampleReport
from dataharvest.contracts import Contract
from dataharvest.entities import Column, Kind

_KINDS = {
    Kind.MONEY: "an amount of at most 15 digits and 4 decimals, without thousands separators, decimal mark {mark}",
    Kind.KEY: "text of 1 to 64 characters",
    Kind.TEXT: "text",
    Kind.UUID: "a UUID such as 9e40659b-5b0a-4d28-8f3e-0a1b2c3d4e5f",
    Kind.CURRENCY: "three capital letters such as EUR",
    Kind.DIGITS: "a number of 1 to 18 digits",
}
_CELL_RULES = {
    "missing_value": "empty",
    "encoding": "not in the encoding {encoding}",
    "nul": "with a NUL byte",
}
_RECORD_RULES = {
    "too_few_fields": "fewer fields than the header",
    "too_many_fields": "more fields than the header",
    "repeated_header": "the header again",
    "stray_quote": "a quote within a field, or text after a closing quote",
    "misaligned_tail": "a quote that never closes, or a record that never ends: nothing behind it can be read",
}


def text_of(report: SampleReport, *, name: str) -> str:
    """The report as plain text, a block for the file and a line or more for each column.

    Args:
        report: what was found.
        name: of the file, as the sender knows it.
    """
    lines = [f"{name}, read as {report.entity.name}", _reading(report.contract)]
    if report.rejected:
        line = report.rejected.details.get("line")
        place = f"line {line}: " if line else ""
        lines += ["", f"The file can't be read. {place}{report.rejected}"]
    else:
        lines += [_extent(report), "", *_table(report), *_whole_records(report)]
    lines += ["", "The file fits." if report.fits else "The file does not fit."]
    return "\n".join(lines)


def _reading(contract: Contract) -> str:
    delimiter = {"\t": "tab"}.get(contract.delimiter, contract.delimiter)
    return f"encoding {contract.encoding}, fields parted by {delimiter}, decimal mark {contract.decimal_mark}"


def _extent(report: SampleReport) -> str:
    part = "the whole file" if report.is_whole else f"the first {report.content_bytes:,} bytes of the content"
    return f"{report.record_count:,} records looked at: {part}"


def _table(report: SampleReport) -> Iterator[str]:
    rows = [("column", "in the file", "verdict"), *(row for one in report.columns for row in _rows(one, report.contract))]
    widths = [max(len(row[index]) for row in rows) for index in (0, 1)]
    for column, header_name, verdict in rows:
        yield f"{column:<{widths[0]}}  {header_name:<{widths[1]}}  {verdict}"


def _rows(one: ColumnReport, contract: Contract) -> Iterator[tuple[str, str, str]]:
    names = (one.column.name if one.column else "–", one.header_name if one.header_name is not None else "–")
    if one.column is None:
        yield (*names, "new: not loaded")
    elif one.header_name is None:
        yield (*names, f"missing, must be {_form(one.column, contract)}" if one.column.mandatory else "missing, may be")
    elif not one.findings:
        yield (*names, "fits")
    for finding in one.findings.values():
        yield (*names, _cells(finding, one.column, contract))
        names = ("", "")


def _cells(finding: Finding, column: Column | None, contract: Contract) -> str:
    known = _CELL_RULES.get(finding.rule)
    what = known.format(encoding=contract.encoding) if known else f"not {_form(column, contract)}"
    return f"{finding.count:,} {what}: {_examples(finding)}"


def _form(column: Column | None, contract: Contract) -> str:
    return _KINDS[column.kind].format(mark=contract.decimal_mark) if column else "text"


def _whole_records(report: SampleReport) -> Iterator[str]:
    if report.records:
        yield ""
        yield "whole records"
    for finding in report.records.values():
        yield f"  {finding.count:,} with {_RECORD_RULES.get(finding.rule, finding.rule)}: {_examples(finding)}"


def _examples(finding: Finding) -> str:
    shown = [f"line {line}" if value is None else f"line {line} {value}" for line, value in finding.examples]
    return ", ".join(shown) + (", …" if finding.count > len(shown) else "")
