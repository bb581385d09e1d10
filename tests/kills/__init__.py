"""Kill tests: workers, database and broker are killed under load, and an oracle that knows only the files judges the result."""
