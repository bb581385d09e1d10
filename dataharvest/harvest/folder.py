"""Which files of a folder are uploaded, under which keys, and which sets they belong to."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from dataharvest.errors import Misconfigured, Rejected
from dataharvest.rules.keys import USUAL_DATE, parse_object_key, tenant_of

ENDINGS = (".csv", ".csv.gz", ".csv.zst", ".json")
"""Endings, in any case, of the files that are uploaded, also when the rest of the name is wrong: then they are rejected."""


class WrongUsage(Misconfigured):
    """What was typed cannot be carried out."""


@dataclass(frozen=True, kw_only=True)
class PlannedUpload:
    """A file and where it goes."""

    path: Path
    key: str
    business_date: date | None
    """Date of the set it is part of; None for a name that will be rejected."""
    is_manifest: bool
    """A manifest has no delivery of its own; it goes first, so that nothing is published that it contradicts."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a folder leads to."""

    tenant: str
    uploads: tuple[PlannedUpload, ...]
    skipped: tuple[str, ...]
    """Names of what is left out."""

    def dated(self, date_form: str, *, entities: Collection[str]) -> "Plan":
        """The plan for a tenant whose contract says that keys have dates in this form, such as ``YYYY-MM-DD``."""
        dated = (_planned(one.path, tenant=self.tenant, entities=entities, date_form=date_form) for one in self.uploads)
        return replace(self, uploads=tuple(dated))

    @property
    def dates(self) -> list[date]:
        """Dates of the sets, in order."""
        return sorted({one.business_date for one in self.uploads if one.business_date})


def plan_uploads(directory: Path, *, tenant: str, entities: Collection[str]) -> Plan:
    """The files of the folder that are uploaded, in order of name; folders, hidden and other files are skipped.

    Raises:
        WrongUsage: the tenant's name is not one, or the folder is missing or has no file to upload.
    """
    _require_tenant(tenant)
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise WrongUsage(f"{directory} is not a folder that can be read: {error.strerror}") from error
    chosen = [path for path in paths if _is_uploaded(path)]
    if not chosen:
        raise WrongUsage(f"{directory} has no file that ends in {', '.join(ENDINGS)}")
    return Plan(
        tenant=tenant,
        uploads=tuple(_planned(path, tenant=tenant, entities=entities) for path in chosen),
        skipped=tuple(path.name.encode(errors="replace").decode() for path in paths if path not in chosen),
    )


def _require_tenant(tenant: str) -> None:
    try:
        good = tenant_of(f"{tenant}/") == tenant
    except (Rejected, UnicodeEncodeError):
        good = False
    if not good:
        raise WrongUsage(f"{tenant!r} is not a tenant: use 1 to 64 of the characters A-Z a-z 0-9 _ . -, not . or .. alone")


def _is_uploaded(path: Path) -> bool:
    # Names that are no UTF-8 come with surrogates; S3 has no key for them.
    is_text = path.name.isprintable() or path.name.encode(errors="ignore").decode() == path.name
    return is_text and not path.name.startswith(".") and path.name.lower().endswith(ENDINGS) and path.is_file()


def _planned(path: Path, *, tenant: str, entities: Collection[str], date_form: str = USUAL_DATE) -> PlannedUpload:
    key = f"{tenant}/{path.name}"
    try:
        name = parse_object_key(key, entities=entities, date_form=date_form)
    except Rejected:
        return PlannedUpload(path=path, key=key, business_date=None, is_manifest=False)
    return PlannedUpload(path=path, key=key, business_date=name.business_date, is_manifest=name.kind == "manifest")
