"""Uploads: what a browser sends goes on to the bucket as it comes, so no file is ever in memory or on disk here."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from datetime import date
from typing import Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from dataharvest.entities import all_entities
from dataharvest.errors import Rejected
from dataharvest.rules.keys import ObjectName, parse_object_key, tenant_of
from dataharvest.web.api import Failure
from dataharvest.web.parts import Parts, Shared

router = APIRouter(prefix="/api/uploads")
_AT_ONCE = 4
_slots = asyncio.Semaphore(_AT_ONCE)
"""Each upload holds some parts in memory; more have to wait, and their browsers with them."""


class Uploaded(BaseModel):
    """A file that lies in the bucket now; it is registered as soon as the bucket's event arrives."""

    key: str
    tenant: str
    business_date: date
    kind: Literal["data", "manifest"]
    entity: str | None
    """None for a manifest."""
    size_bytes: int


@router.put(
    "/{tenant}/{name:path}",
    summary="Upload one file into a tenant's folder",
    responses={403: {"model": Failure}, 413: {"model": Failure}, 422: {"model": Failure}, 502: {"model": Failure}},
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}},
)
async def upload(tenant: str, name: str, request: Request, parts: Shared) -> Uploaded:
    """Store the request's body as `<tenant>/<name>`, whole or not at all.

    A name that says no entity and date is refused before a byte is read.
    """
    _require_own_page(request)
    key = f"{tenant}/{name}"
    found = await _named(key, parts)
    _require_length(request, parts)
    async with _slots:
        size_bytes = await parts.objects.put_stream(parts.bucket, key, _limited(request.stream(), parts.max_content_bytes))
    return Uploaded(
        key=key,
        tenant=found.tenant,
        business_date=found.business_date,
        kind=found.kind,
        entity=found.entity,
        size_bytes=size_bytes,
    )


async def _named(key: str, parts: Parts) -> ObjectName:
    _, contract = await parts.contracts.current(tenant_of(key))
    return parse_object_key(key, entities=all_entities(), date_form=contract.date_in_key)


def _require_own_page(request: Request) -> None:
    # Browsers say where a request comes from; other programs say nothing.
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "another site may not upload through your browser")


def _require_length(request: Request, parts: Parts) -> None:
    if int(request.headers.get("content-length", 0)) > parts.max_content_bytes:
        raise HTTPException(413, f"files of more than {parts.max_content_bytes:,} bytes are not accepted")


async def _limited(pieces: AsyncIterable[bytes], limit_bytes: int) -> AsyncIterator[bytes]:
    length = 0
    async for piece in pieces:
        length += len(piece)
        if length > limit_bytes:
            raise Rejected(f"files of more than {limit_bytes:,} bytes are not accepted", rule="too_long")
        yield piece
