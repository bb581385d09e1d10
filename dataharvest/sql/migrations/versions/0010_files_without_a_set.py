"""Notifications of files that belong to no set."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Let a notification have no date."""
    for statement in migration_statements("0010_files_without_a_set.sql"):
        op.get_bind().exec_driver_sql(statement)
