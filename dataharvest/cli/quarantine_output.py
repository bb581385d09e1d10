"""What the commands of `dataharvest quarantine` print and write."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dataharvest.quarantine import Entry
    from dataharvest.services import Services
    from dataharvest.stages.look_at_record import Looking
    from dataharvest.stages.repair_report import Report


def looking_at(services: "Services") -> "Looking":
    """Looks at entries, in the bucket too."""
    from dataharvest.stages.look_at_record import Looking

    return Looking(quarantine=services.quarantine, contracts=services.contracts, objects=services.objects)


async def save_to(looking: "Looking", entry: "Entry", path: Path) -> int:
    """Write every byte of an entry; how many there were."""
    written = 0
    with path.open("wb") as output:
        async for piece in looking.content(entry):
            written += output.write(piece)
    return written


def conclude(report: "Report", *, plan: bool, form: str | None) -> None:
    """Say what became of a repair; exit with 1 if part of it was refused."""
    from dataharvest.quarantine_text import report_json, report_lines

    if form == "json":
        print_json(report_json(report, plan=plan))
    else:
        print_lines(report_lines(report, plan=plan))
    for reason in report.refused:
        click.echo(f"dataharvest: {reason}", err=True)
    if report.refused:
        sys.exit(1)


def print_lines(lines: Any) -> None:
    """For a person."""
    for line in lines:
        click.echo(line)


def print_json(report: Any) -> None:
    """For a program."""
    click.echo(json.dumps(report, indent=1, ensure_ascii=False))


def write_bytes(content: bytes) -> None:
    """As they are."""
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
