"""What copies leave is counted once more, and half a removal can't be completed."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Refuse what a worker of an older version would complete with copies left in it."""
    for statement in migration_statements("0016_counted_once_more.sql"):
        op.get_bind().exec_driver_sql(statement)
