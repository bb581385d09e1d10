"""What Prometheus asks the page for: the same metrics as a worker's, those of this process."""

import logging

from fastapi import APIRouter
from starlette.responses import Response

from dataharvest.errors import Unavailable
from dataharvest.metrics import CONTENT_TYPE, exposition
from dataharvest.web.parts import Shared

logger = logging.getLogger(__name__)

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
async def metrics(parts: Shared) -> Response:
    """Every metric; while PostgreSQL or Kafka is away the gauges stay as they were, and say of when they are."""
    try:
        await parts.measuring.refresh()
    except Unavailable as outage:
        logger.warning("nothing measured for a scrape", extra={"reason": outage.message})
    return Response(exposition(), headers={"Content-Type": CONTENT_TYPE})
