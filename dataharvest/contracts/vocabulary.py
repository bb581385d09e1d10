"""The kinds of word a contract is written in, each with the check that a wrong one fails."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from ipaddress import ip_address
from itertools import permutations
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from dataharvest.entities import all_entities

DuplicateRule = Literal["reject", "first_wins", "last_wins"]
Encoding = Literal["utf-8", "utf-16", "iso-8859-1", "windows-1252"]
OrphanKind = Literal[
    "transactions without an account",
    "portfolios without an account",
    "portfolios without a client",
    "accounts without a portfolio",
]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Item = TypeVar("Item")

_SYNONYMS = {"utf8": "utf-8", "utf16": "utf-16", "latin-1": "iso-8859-1", "latin1": "iso-8859-1", "cp1252": "windows-1252"}
# What stands in numbers, UUIDs, header names or quoting can't part fields, nor can a blank: names are stripped of blanks.
_DELIMITERS = frozenset(",;|\t:~^!#$%&*+/=?@")
_DATE_FORMS = frozenset(mark.join(parts) for parts in permutations(("YYYY", "MM", "DD")) for mark in ("", "-", "_", "."))
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def close_to(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that was probably meant, as the end of a sentence; empty when there is none."""
    found = get_close_matches(word, list(known), n=1)
    return f"; did you mean {found[0]!r}?" if found else ""


def _entity_name(name: str) -> str:
    if name not in all_entities():
        raise ValueError(f"no entity is called {name!r}{close_to(name, all_entities()) or ', only ' + ', '.join(all_entities())}")
    return name


def _delimiter(value: str) -> str:
    if value not in _DELIMITERS:
        allowed = 'a comma, a semicolon, a bar, a tab (written "\\t", with the quotes) or one of : ~ ^ ! # $ % & * + / = ? @'
        raise ValueError(f"{value!r} can't part fields: it must be {allowed}")
    return value


def _encoding(value: object) -> object:
    return _SYNONYMS.get(value.lower(), value.lower()) if isinstance(value, str) else value


def _date_in_key(form: str) -> str:
    if form not in _DATE_FORMS:
        parts = "YYYY, MM and DD once each, parted by the same - _ . or nothing, such as YYYYMMDD, YYYY-MM-DD or DDMMYYYY"
        raise ValueError(f"{form!r} is no form of a date: it must be {parts}")
    return form


def _time_of_day(value: str) -> str:
    if not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is no time of day: it must be written HH:MM, from 00:00 to 23:59")
    return value


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"no time zone is called {name!r}; an IANA name such as Europe/Berlin is needed") from error
    return name


def _webhook_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{url!r} is no address") from error
    if not host or any(not one.isprintable() or one.isspace() for one in url):
        raise ValueError(f"{url!r} is no address: one such as https://example.com/dataharvest is needed")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ValueError(f"{url!r} must begin with https://: what is told may not be read on the way")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ValueError("may hold neither a user nor a password nor a part behind #: calls are signed instead")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _aliases(aliases: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {entity: dict(sorted(names.items())) for entity, names in sorted(aliases.items())}


def _day(value: object) -> object:
    # A number would be taken for seconds since 1970.
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError(f"{value!r} is no date: it must be written YYYY-MM-DD")
    return value


def _some(items: tuple[Item, ...]) -> tuple[Item, ...]:
    # Not pydantic's own `min_length`, which also speaks up when the only item is a wrong one.
    if not items:
        raise ValueError("should not be empty")
    return items


EntityName = Annotated[str, AfterValidator(_entity_name)]
EntityNames = Annotated[tuple[EntityName, ...], AfterValidator(_some), AfterValidator(lambda names: tuple(sorted(set(names))))]
OrphanKinds = Annotated[tuple[OrphanKind, ...], AfterValidator(lambda kinds: tuple(sorted(set(kinds))))]
Days = Annotated[tuple[Annotated[date, BeforeValidator(_day)], ...], AfterValidator(lambda days: tuple(sorted(set(days))))]
Weekdays = Annotated[
    tuple[Weekday, ...], AfterValidator(_some), AfterValidator(lambda days: tuple(sorted(set(days), key=WEEKDAYS.index)))
]
Delimiter = Annotated[str, AfterValidator(_delimiter)]
EncodingName = Annotated[Encoding, BeforeValidator(_encoding)]
DateInKey = Annotated[str, AfterValidator(_date_in_key)]
WebhookUrl = Annotated[str, Field(max_length=2000), AfterValidator(_webhook_url)]
NotifiedEvent = Literal["ready", "blocked", "late"]
NotifiedEvents = Annotated[tuple[NotifiedEvent, ...], AfterValidator(_some), AfterValidator(lambda one: tuple(sorted(set(one))))]
TimeOfDay = Annotated[str, AfterValidator(_time_of_day)]
ZoneName = Annotated[str, AfterValidator(_zone)]
HeaderName = Annotated[str, Field(min_length=1, max_length=200)]
HeaderAliases = Annotated[dict[EntityName, dict[HeaderName, str]], AfterValidator(_aliases)]
DuplicatesByEntity = Annotated[dict[EntityName, DuplicateRule], AfterValidator(lambda rules: dict(sorted(rules.items())))]
