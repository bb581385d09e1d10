"""The kinds of fault: what is done, how often, and how the load is made for it."""

from tests.faults.kinds.clocks import F15
from tests.faults.kinds.full_disks import F13
from tests.faults.kinds.hostile import F12
from tests.faults.kinds.links import F6, F7
from tests.faults.kinds.messages import F10, F11, F17
from tests.faults.kinds.mixture import F16
from tests.faults.kinds.model import SCALES, Kind, Scale
from tests.faults.kinds.objects import F8
from tests.faults.kinds.outages import OUTAGE
from tests.faults.kinds.processes import F1, F2, F3
from tests.faults.kinds.services import F4, F5
from tests.faults.kinds.tables import F9, F14, F18

# F18 last: whoever looks for doubled rows reads whole tables, and it leaves a gigabyte of them.
ORDER = (F1, F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12, F13, F14, F15, F16, F17, OUTAGE, F18)
ALL = {one.name: one for one in ORDER}
LANES = (
    ("F1", "F2", "F3", "F4", "F5", "F6", "F7", "F13"),
    ("F8", "F9", "F10", "F11", "F12", "F14", "F15", "F16", "F17", "outage", "F18"),
)
"""Kinds that are played one after the other. A fault is mostly waiting, so the lanes go side by side, each with its own stack."""

__all__ = ["ALL", "LANES", "SCALES", "Kind", "Scale"]
