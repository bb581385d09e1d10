"""Python imports this before anything else in a process whose PYTHONPATH names this folder: the place to plant a bug."""

import os

if name := os.environ.get("DATAHARVEST_PLANTED_BUG"):
    from tests.faults.bugs.planting import plant

    plant(name)
