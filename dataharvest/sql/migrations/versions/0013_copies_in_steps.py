"""Copies of natural keys that are found and read again in steps."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Keep what was found and read from one step of a judgement to the next."""
    for statement in migration_statements("0013_copies_in_steps.sql"):
        op.get_bind().exec_driver_sql(statement)
