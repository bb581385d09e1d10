"""Editions of a set, and what was done about quarantined records."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add what repair needs."""
    for statement in migration_statements("0005_repair.sql"):
        op.get_bind().exec_driver_sql(statement)
