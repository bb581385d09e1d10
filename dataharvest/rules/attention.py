"""Which sets wait for somebody, the most urgent first."""

from datetime import date

from dataharvest.rules.standing import State

_URGENCY = {State.BLOCKED: 0, State.DISPUTED: 0, State.INCOMPLETE: 2}
_GOES_ON, _PUBLISHED = 3, 4


def urgency(state: State, *, late: bool, held: bool = False) -> int | None:
    """How soon somebody has to look, 0 for at once; None when nobody has to.

    ``held``: its files are not read because its tenant is paused or an object can't be read.
    """
    if state is State.PUBLISHED:
        return None
    found = _URGENCY.get(state)
    return min(1 if found is None else found, 1) if late or held else found


def attention_order(soon: int, *, business_date: date, tenant: str) -> tuple[int, int, str]:
    """Sorts sets that wait for somebody: by urgency, the newest date first, then by name."""
    return soon, -business_date.toordinal(), tenant


def report_order(state: State, *, late: bool, business_date: date, tenant: str) -> tuple[int, int, str]:
    """Sorts any sets: those that wait for somebody, those that go on by themselves, those that are published; then as above."""
    soon = urgency(state, late=late)
    rest = _PUBLISHED if state is State.PUBLISHED else _GOES_ON
    return attention_order(rest if soon is None else soon, business_date=business_date, tenant=tenant)
