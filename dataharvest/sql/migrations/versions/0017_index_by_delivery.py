"""Rows are found by an index that loses none; it is made with the tables of rows, which follow the entities."""

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Only a new number: who finds an older one has an index that may not know of all rows."""
