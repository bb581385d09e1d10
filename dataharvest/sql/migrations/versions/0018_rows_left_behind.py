"""What an index that lost rows has left: rows of deliveries that were removed, and versions that take something over."""

from alembic import op

revision = "0018"
down_revision = "0017"

_TABLES = """
SELECT tablename FROM pg_tables JOIN information_schema.columns ON (table_schema, table_name) = (schemaname, tablename)
WHERE schemaname = current_schema() AND starts_with(tablename, 'row_') AND column_name = 'delivery_id'
"""
_REMOVE = """
DELETE FROM {table} r USING delivery d
WHERE d.delivery_id = r.delivery_id
  AND (d.removed_at IS NOT NULL OR d.state IN ('repeat', 'rejected', 'abandoned')
       OR d.state = 'superseded' AND d.chunk_count IS NULL)
"""
# Such a set is due for a version of another edition, which takes nothing over; one that has begun to go out is finished first.
_BEGIN_ANEW = """
UPDATE business_set s SET edition = edition + 1
WHERE EXISTS (SELECT FROM set_version v WHERE (v.tenant, v.business_date) = (s.tenant, s.business_date)
              AND v.state IN ('open', 'blocked') AND v.base_version_id IS NOT NULL)
"""


def upgrade() -> None:
    """Remove the rows by a look at each one: the index that may not know of them is not asked."""
    connection = op.get_bind()
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
    for (table,) in connection.exec_driver_sql(_TABLES).all():
        connection.exec_driver_sql(_REMOVE.format(table=table))
    connection.exec_driver_sql("SET LOCAL enable_bitmapscan = on")
    connection.exec_driver_sql(_BEGIN_ANEW)
