"""What the status report says of repairs that newer files have dropped."""

from collections.abc import Sequence

from dataharvest.adapters.postgres.connection import Connection
from dataharvest.adapters.postgres.status_rows import Row
from dataharvest.deliveries import SetKey
from dataharvest.sql import queries

_SQL = queries("status")


async def dropped_repairs(connection: Connection, versions: Sequence[Row]) -> dict[SetKey, list[str]]:
    """A sentence for each delivery that a delivery of these versions replaced although it had been repaired, by set."""
    deliveries = [delivery_id for row in versions for delivery_id in row["deliveries"].values()]
    found: dict[SetKey, list[str]] = {}
    for row in await connection.fetch(_SQL["dropped_repairs"], deliveries):
        count, sample = row["repair_count"], ", ".join(row["sample"])
        more = f" and {count - len(row['sample']):,} more" if count > len(row["sample"]) else ""
        sentence = (
            f"dropped repairs: delivery {row['superseded_by']} of {row['entity']} replaced delivery {row['delivery_id']}, "
            f"and with it what was done about {sample}{more}"
        )
        found.setdefault(SetKey(row["tenant"], row["business_date"]), []).append(sentence)
    return found
