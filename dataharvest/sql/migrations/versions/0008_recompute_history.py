"""Who had which set computed again, and why."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the history of recomputing."""
    for statement in migration_statements("0008_recompute_history.sql"):
        op.get_bind().exec_driver_sql(statement)
