"""${message}."""

from alembic import op

from dataharvest.sql import migration_statements

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Apply the statements beside this file."""
    for statement in migration_statements("${up_revision}_CHANGE_ME.sql"):
        op.get_bind().exec_driver_sql(statement)
