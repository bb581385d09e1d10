"""The ledger, sets, values and outbound messages."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    for statement in migration_statements("0001_journey.sql"):
        op.get_bind().exec_driver_sql(statement)
