"""Copies of natural keys that are decided and removed in steps."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Keep what becomes of copies where a crash of the server does not take it; deliveries under judgement begin anew."""
    for statement in migration_statements("0015_removal_in_steps.sql"):
        op.get_bind().exec_driver_sql(statement)
