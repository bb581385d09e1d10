"""The test of the test: bugs that a run must find. Each is planted into workers from outside; the package knows nothing of it."""

import os
from pathlib import Path

VARIABLE = "DATAHARVEST_PLANTED_BUG"

BUGS = {
    "drop a chunk": "F2",
    "insert twice": "F2",
    "offset before commit": "stall",
    "wrong tenant": "F2",
    "swallow a row error": "F2",
    "round an amount": "F2",
    "readiness one chunk early": "F2",
    "republish unchanged": "F2",
    "counter instead of set": "F10",
}
"""Every bug by name, with the kind of fault that brings it out."""


def planted(name: str) -> dict[str, str]:
    """What a worker needs in its environment to have the bug."""
    folder = str(Path(__file__).parent / "site")
    path = os.pathsep.join(filter(None, (folder, str(Path(__file__).parents[3]), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, VARIABLE: name}
