"""Which sets wait for somebody, the most urgent first."""

from datetime import date

from dataharvest.rules.standing import State

_URGENCY = {State.BLOCKED: 0, State.DISPUTED: 0, State.INCOMPLETE: 2}


def urgency(state: State, *, late: bool) -> int | None:
    """How soon somebody has to look, 0 for at once; None when nobody has to."""
    if state is State.PUBLISHED:
        return None
    found = _URGENCY.get(state)
    return min(found if found is not None else 1, 1) if late else found


def attention_order(state: State, *, late: bool, business_date: date, tenant: str) -> tuple[int, int, str]:
    """Sorts sets that wait for somebody: by urgency, the newest date first, then by name."""
    found = urgency(state, late=late)
    return (9 if found is None else found, -business_date.toordinal(), tenant)
