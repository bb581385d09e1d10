"""Where the rows of a delivery lie, and how many of them a slice of relating went through."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add what slices of relating need."""
    for statement in migration_statements("0009_slices_of_relating.sql"):
        op.get_bind().exec_driver_sql(statement)
