"""What an object key says: whose file it is, for which date, and which kind of file.

The tenant is everything before the first slash, the file name everything after the last; what lies between
is the tenant's own business. Names are matched exactly, but the ending may be in any case: some
upload tools write ``.CSV`` or ``.csv.GZ`` without asking.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Literal

from dataharvest.errors import Rejected

Compression = Literal["gz", "zst"]

_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LONGEST_KEY_BYTES = 1024
USUAL_DATE = "YYYYMMDD"


@dataclass(frozen=True, kw_only=True)
class ObjectName:
    """What the key of an object says about its content."""

    tenant: str
    business_date: date
    kind: Literal["data", "manifest"]
    entity: str | None
    """Kind of file; None for a manifest."""
    compression: Compression | None
    """By the ending of the key; None for plain bytes."""


def tenant_of(key: str) -> str:
    """The tenant whose folder a key is in.

    Raises:
        Rejected: rule ``unknown_key_pattern`` or ``tenant_name``, with details as for `parse_object_key`.
    """
    if "\0" in key or len(key.encode()) > _LONGEST_KEY_BYTES:
        raise Rejected("S3 has no key longer than 1,024 bytes or with a NUL in it", rule="unknown_key_pattern")
    folder, slash, _ = key.rpartition("/")
    if not slash:
        message = f"{key!r} is in no tenant's folder, expected {_expected(USUAL_DATE)}"
        raise Rejected(message, rule="unknown_key_pattern", key=key)
    return _good_tenant(folder.split("/", 1)[0], key=key)


def parse_object_key(key: str, *, entities: Collection[str], date_form: str = USUAL_DATE) -> ObjectName:
    """What a key in our bucket says.

    Args:
        key: the object's key as S3 stores it, not URL-encoded; blanks, ``+``, umlauts and more slashes are fine.
        entities: names of the known kinds of file.
        date_form: how the date is written, ``YYYY``, ``MM`` and ``DD`` once each, as the tenant's contract says.

    Raises:
        Rejected: rule ``unknown_key_pattern``, ``tenant_name``, ``unknown_entity`` or ``impossible_date``. The
            details carry ``key`` (but none that S3 cannot have), and ``tenant`` once that part is known to be good.
    """
    tenant = tenant_of(key)
    file_name = key.rpartition("/")[2]
    data_file, manifest = _patterns(date_form)
    if found := manifest.fullmatch(file_name):
        day = _date_of(found, key=key, tenant=tenant, date_form=date_form)
        return ObjectName(tenant=tenant, business_date=day, kind="manifest", entity=None, compression=None)
    if found := data_file.fullmatch(file_name):
        return _data_file(found, key=key, tenant=tenant, entities=entities, date_form=date_form)
    message = f"{key!r} does not name a file we know, expected {_expected(date_form)}"
    raise Rejected(message, rule="unknown_key_pattern", key=key, tenant=tenant)


@cache
def _patterns(date_form: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    day = re.escape(date_form)
    for name, part, digits in (("year", "YYYY", 4), ("month", "MM", 2), ("day", "DD", 2)):
        day = day.replace(part, f"(?P<{name}>[0-9]{{{digits}}})")
    data_file = re.compile(rf"(?P<entity>.+)_(?P<date>{day})\.(?i:csv(?:\.(?P<compression>gz|zst))?)", re.DOTALL)
    return data_file, re.compile(rf"manifest_(?P<date>{day})\.(?i:json)")


def _expected(date_form: str) -> str:
    return f"<tenant>/…/<entity>_<{date_form}>.csv (or .csv.gz, .csv.zst) or <tenant>/…/manifest_<{date_form}>.json"


def _data_file(found: re.Match[str], *, key: str, tenant: str, entities: Collection[str], date_form: str) -> ObjectName:
    entity = found["entity"]
    if entity not in entities:
        message = f"{key!r} names the entity {entity!r}, expected one of {', '.join(sorted(entities))}"
        raise Rejected(message, rule="unknown_entity", key=key, tenant=tenant, entity=entity)
    day = _date_of(found, key=key, tenant=tenant, date_form=date_form)
    return ObjectName(
        tenant=tenant, business_date=day, kind="data", entity=entity, compression=_compression_of(found["compression"])
    )


def _compression_of(ending: str | None) -> Compression | None:
    if ending is None:
        return None
    return "gz" if ending.lower() == "gz" else "zst"


def _good_tenant(name: str, *, key: str) -> str:
    if _TENANT.fullmatch(name) and name not in {".", ".."}:
        return name
    expected = "1 to 64 of the characters A-Z a-z 0-9 _ . - (and not . or .. alone)"
    raise Rejected(f"{key!r} begins with the tenant {name!r}, expected {expected}", rule="tenant_name", key=key)


def _date_of(found: re.Match[str], *, key: str, tenant: str, date_form: str) -> date:
    try:
        return date(int(found["year"]), int(found["month"]), int(found["day"]))
    except ValueError as error:
        message = f"{key!r} carries the date {found['date']}, which no calendar has; expected {date_form}"
        raise Rejected(message, rule="impossible_date", key=key, tenant=tenant) from error
