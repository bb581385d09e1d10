"""Load a transactions file with dlt; runs in dlt's own environment, so it imports nothing of ours.

``python dlt_load.py arrow|rows CSV URL`` makes the table ``transactions`` in the schema ``peer_dlt``.
"""

import csv
import os
import sys
from collections.abc import Iterator
from typing import Any

TYPES: dict[str, dict[str, str | int]] = {
    "record_id": {"data_type": "bigint"},
    "account_number": {"data_type": "text"},
    "transaction_reference": {"data_type": "text"},
    "amount": {"data_type": "decimal", "precision": 19, "scale": 4},
    "keyword": {"data_type": "text"},
}


def arrow_batches(path: str) -> Iterator[Any]:
    """The file as Arrow batches."""
    import pyarrow as pa  # type: ignore[import-not-found]
    from pyarrow import csv as arrow_csv

    kinds = {"bigint": pa.int64(), "text": pa.string(), "decimal": pa.decimal128(19, 4)}
    convert = arrow_csv.ConvertOptions(column_types={name: kinds[str(one["data_type"])] for name, one in TYPES.items()})
    yield from arrow_csv.open_csv(path, convert_options=convert)


def rows(path: str) -> Iterator[dict[str, str]]:
    """The file as dictionaries, as dlt's own tutorial does it."""
    with open(path, newline="", encoding="ascii") as file:
        yield from csv.DictReader(file)


def main() -> None:
    """Load the file."""
    import dlt  # type: ignore[import-not-found]

    kind, path, url = sys.argv[1:]
    os.environ["DESTINATION__POSTGRES__CREDENTIALS"] = url
    pipeline = dlt.pipeline(f"peer_{kind}", destination="postgres", dataset_name="peer_dlt")
    source = arrow_batches(path) if kind == "arrow" else rows(path)
    resource = dlt.resource(source, name="transactions", columns=TYPES, write_disposition="replace")
    pipeline.run(resource)


if __name__ == "__main__":
    main()
