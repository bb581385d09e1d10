"""One mark for the outbound messages of a batch, and two indexes less."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0012"
down_revision = "0010"


def upgrade() -> None:
    """Keep messages in their own table and let their view say when they were sent."""
    for statement in migration_statements("0012_messages_marked_by_batch.sql"):
        op.get_bind().exec_driver_sql(statement)
