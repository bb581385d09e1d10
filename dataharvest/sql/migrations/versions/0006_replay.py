"""Dead letters that can be replayed and discarded, and replays of topics."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add what replays keep."""
    for statement in migration_statements("0006_replay.sql"):
        op.get_bind().exec_driver_sql(statement)
