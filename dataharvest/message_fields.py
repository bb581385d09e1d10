"""What the fields of internal messages may hold: no more than PostgreSQL can store, so that a wrong one is rejected at once."""

from base64 import b64decode, b64encode
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainSerializer

Tenant = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]
"""Of an entity, rule or state."""
Identity = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""Of a row in a table: a ``bigint`` that PostgreSQL counted."""
Place = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""In a file, in bytes or lines."""
Index = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""Or a count, from 0: an ``integer``."""
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""From 1 on: an ``integer``."""
Base64 = Annotated[
    bytes,
    BeforeValidator(lambda value: b64decode(value, validate=True) if isinstance(value, str) else value),
    PlainSerializer(lambda value: b64encode(value).decode(), return_type=str),
]
