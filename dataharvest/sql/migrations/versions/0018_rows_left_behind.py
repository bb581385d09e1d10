"""Rows of deliveries that were removed: what an index had lost was passed over when they were."""

from alembic import op

revision = "0018"
down_revision = "0017"

_TABLES = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = current_schema() AND starts_with(table_name, 'row_') AND column_name = 'delivery_id'
"""
_REMOVE = """
DELETE FROM {table} r USING delivery d
WHERE d.delivery_id = r.delivery_id
  AND (d.removed_at IS NOT NULL OR d.state IN ('repeat', 'rejected', 'abandoned')
       OR d.state = 'superseded' AND d.chunk_count IS NULL)
"""


def upgrade() -> None:
    """Remove them by a look at every row: the index that may not know of them is not asked."""
    connection = op.get_bind()
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    for (table,) in connection.exec_driver_sql(_TABLES).all():
        connection.exec_driver_sql(_REMOVE.format(table=table))
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = on")
