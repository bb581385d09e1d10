"""A corrected set takes over what its base has computed from the same files."""

from alembic import op

from dataharvest.sql import migration_statements

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Let a version know its base, and a batch what it takes over and by what declaration it was made."""
    for statement in migration_statements("0014_carrying_over.sql"):
        op.get_bind().exec_driver_sql(statement)
