"""How a webhook call shows that it comes from here, was not changed, and is not an old one sent again."""

import hmac
from collections.abc import Collection, Iterator
from hashlib import sha256

HEADER = "DataHarvest-Signature"
"""Holds ``t=<seconds since 1970>,v1=<hexadecimal>``."""
TOLERANCE_S = 300
"""How old a call may be when it arrives."""


def tenant_secret(key: str, tenant: str, *, number: int) -> str:
    """The secret that a tenant checks its calls with; nothing else can be learned from it.

    It follows from the installation's key, so it is stored nowhere; another ``number`` gives another secret.
    """
    return hmac.new(key.encode(), f"dataharvest webhook|{tenant}|{number}".encode(), sha256).hexdigest()


def signature(body: bytes, *, secret: str, at_s: int) -> str:
    """The header's value for a call at that moment."""
    return f"t={at_s},v1={_digest(body, secret=secret, at_s=at_s)}"


def is_genuine(header: str, body: bytes, *, secret: str, now_s: float, tolerance_s: float = TOLERANCE_S) -> bool:
    """What a receiver asks before it believes a call; False too for a header that can't be read."""
    parts = list(_parts(header))
    moments = [value for name, value in parts if name == "t" and value.isascii() and value.isdigit() and len(value) < 13]
    if len(moments) != 1 or abs(now_s - int(moments[0])) > tolerance_s:
        return False
    expected = _digest(body, secret=secret, at_s=int(moments[0]))
    return _any_equal(expected, [value for name, value in parts if name == "v1"])


def _digest(body: bytes, *, secret: str, at_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_s}.".encode() + body, sha256).hexdigest()


def _parts(header: str) -> Iterator[tuple[str, str]]:
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        yield name, value


def _any_equal(expected: str, given: Collection[str]) -> bool:
    return any([hmac.compare_digest(expected.encode(), one.encode()) for one in given])
