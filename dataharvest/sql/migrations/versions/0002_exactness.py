"""Contracts, manifests, control totals, duplicates and pauses."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add what exactness needs."""
    for statement in migration_statements("0002_exactness.sql"):
        op.get_bind().exec_driver_sql(statement)
