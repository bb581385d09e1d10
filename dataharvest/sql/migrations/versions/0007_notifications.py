"""Notifications and calls of webhooks."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add what is told to tenants."""
    for statement in migration_statements("0007_notifications.sql"):
        op.get_bind().exec_driver_sql(statement)
