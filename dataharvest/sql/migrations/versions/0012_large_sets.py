"""One mark for the outbound messages of a batch, and slices of portfolios by account."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Keep messages in their own table and let their view say when they were sent."""
    for statement in migration_statements("0012_large_sets.sql"):
        op.get_bind().exec_driver_sql(statement)
