"""Writes the JSON Schema of `dataharvest status --json` into docs/."""

import json
from pathlib import Path

from dataharvest.status import StatusReport

SCHEMA = Path(__file__).parent.parent / "docs" / "status.schema.json"


def status_schema() -> str:
    """JSON Schema of the report, as a text that ends with a line feed."""
    schema = StatusReport.model_json_schema(mode="serialization")
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(status_schema(), encoding="utf-8")
