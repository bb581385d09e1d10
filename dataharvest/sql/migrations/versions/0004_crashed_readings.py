"""Deliveries whose reading ends its worker."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Count the deaths of a delivery's readers."""
    for statement in migration_statements("0004_crashed_readings.sql"):
        op.get_bind().exec_driver_sql(statement)
