"""What dead letters are about."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Let dead letters name their delivery and chunk."""
    for statement in migration_statements("0003_dead_letter_subject.sql"):
        op.get_bind().exec_driver_sql(statement)
