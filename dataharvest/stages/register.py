"""Register: an event is only a hint; what the bucket holds now decides."""

import logging

from dataharvest.entities import all_entities
from dataharvest.errors import ObjectTrouble, Rejected
from dataharvest.objects import ObjectStore, ObjectVersion
from dataharvest.ports import Deliveries
from dataharvest.rules.events import objects_in
from dataharvest.rules.keys import parse_object_key

logger = logging.getLogger(__name__)


async def register(value: bytes, *, bucket: str, objects: ObjectStore, deliveries: Deliveries) -> None:
    """Insert a delivery for each object that an S3 notification hints at; one known already is left alone.

    Raises:
        Rejected: the notification can't be read, or S3 forbids to look at the object.
        Unavailable: S3 or PostgreSQL is not there.
    """
    for hint in objects_in(value):
        if hint.bucket != bucket:
            logger.warning("event for another bucket ignored", extra={"bucket": hint.bucket})
            continue
        for key in hint.keys:
            if await register_object(key, bucket=bucket, objects=objects, deliveries=deliveries):
                break


async def register_object(key: str, *, bucket: str, objects: ObjectStore, deliveries: Deliveries) -> bool:
    """Insert a delivery for what is under the key now; False when nothing is."""
    try:
        source = await objects.head(bucket, key)
    except ObjectTrouble as trouble:
        raise Rejected(f"{key!r} can't be looked at: {trouble}", rule="object_forbidden", key=key) from trouble
    if source is None:
        return False
    if not key.endswith("/"):
        await _insert(source, deliveries=deliveries)
    return True


async def _insert(source: ObjectVersion, *, deliveries: Deliveries) -> None:
    try:
        name = parse_object_key(source.key, entities=all_entities())
    except Rejected as reason:
        delivery_id = await deliveries.register_rejected(source, reason)
        if delivery_id is not None:
            logger.warning("delivery rejected", extra={"delivery_id": delivery_id, "rule": reason.rule})
        return
    if name.kind == "manifest":
        logger.info("manifest ignored", extra={"tenant": name.tenant, "business_date": name.business_date.isoformat()})
        return
    delivery_id = await deliveries.register(source, name)
    if delivery_id is not None:
        details = {"delivery_id": delivery_id, "tenant": name.tenant, "entity": name.entity}
        logger.info("delivery registered", extra=details)
