"""What was counted so far of a large delivery that is being judged."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Add the slices of judging."""
    for statement in migration_statements("0011_slices_of_judging.sql"):
        op.get_bind().exec_driver_sql(statement)
