"""What processes of the program import, for the one they are forked from; nothing here may start a thread."""

import dataharvest.app
import dataharvest.cli
from tests import programs  # noqa: F401

dataharvest.cli.register_commands()

# `dataharvest.app` must go on to mean the application, which is built on first use.
del dataharvest.app
