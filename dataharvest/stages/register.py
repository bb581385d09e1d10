"""Register: an event is only a hint; what the bucket holds now decides."""

import logging

from dataharvest.deliveries import SetKey
from dataharvest.entities import all_entities
from dataharvest.errors import ContractTrouble, ObjectTrouble, Rejected
from dataharvest.failpoints import failpoint
from dataharvest.objects import ObjectStore, ObjectVersion
from dataharvest.ports import Contracts, Deliveries
from dataharvest.rules.events import objects_in
from dataharvest.rules.keys import parse_object_key, tenant_of
from dataharvest.stages.register_manifest import ManifestRegister

logger = logging.getLogger(__name__)


async def register(
    value: bytes,
    *,
    bucket: str,
    objects: ObjectStore,
    deliveries: Deliveries,
    manifests: ManifestRegister,
    contracts: Contracts,
) -> None:
    """Insert a delivery, or a manifest, for each object that an S3 notification hints at; a delivery known already is left alone.

    Raises:
        Rejected: the notification can't be read, or S3 forbids to look at one of its objects; the others are registered.
        Unavailable: S3 or PostgreSQL is not there.
    """
    failpoint("register.received")
    forbidden: Rejected | None = None
    for hint in objects_in(value):
        if hint.bucket != bucket:
            logger.warning("event for another bucket ignored", extra={"bucket": hint.bucket})
            continue
        for key in hint.keys:
            try:
                await register_object(
                    key, bucket=bucket, objects=objects, deliveries=deliveries, manifests=manifests, contracts=contracts
                )
            except Rejected as reason:
                forbidden = reason
    if forbidden is not None:
        raise forbidden


async def register_object(
    key: str,
    *,
    bucket: str,
    objects: ObjectStore,
    deliveries: Deliveries,
    manifests: ManifestRegister,
    contracts: Contracts,
) -> bool:
    """Insert a delivery, or a manifest, for what is under the key now; False if it is known, nothing is, or it can't be told."""
    try:
        source = await objects.head(bucket, key)
    except ObjectTrouble as trouble:
        raise Rejected(f"{key!r} can't be looked at: {trouble}", rule="object_forbidden", key=key) from trouble
    if source is None or key.endswith("/"):
        return False
    return await _insert(source, objects=objects, deliveries=deliveries, manifests=manifests, contracts=contracts)


async def _insert(
    source: ObjectVersion, *, objects: ObjectStore, deliveries: Deliveries, manifests: ManifestRegister, contracts: Contracts
) -> bool:
    try:
        contract_version, contract = await contracts.current(tenant_of(source.key))
        name = parse_object_key(source.key, entities=all_entities(), date_form=contract.date_in_key)
    except ContractTrouble as trouble:
        # Only the contract says what the key means. Nothing is lost: the sweep finds the object again until it can be told.
        logger.error("contract can't be read, the object waits", extra={"object_key": source.key, "reason": trouble.message})
        return False
    except Rejected as reason:
        delivery_id = await deliveries.register_rejected(source, reason)
        if delivery_id is not None:
            logger.warning("delivery rejected", extra={"delivery_id": delivery_id, "rule": reason.rule})
        return delivery_id is not None
    if name.kind == "manifest":
        return await manifests.register(source, SetKey(name.tenant, name.business_date))
    delivery_id = await deliveries.register(source, name, contract_version=contract_version)
    if delivery_id is None and (after := await _overtaken_by(source, objects=objects, deliveries=deliveries)) is not None:
        delivery_id = await deliveries.register(source, name, contract_version=contract_version, after=after)
    if delivery_id is not None:
        failpoint("register.registered")
        details = {"delivery_id": delivery_id, "tenant": name.tenant, "entity": name.entity}
        logger.info("delivery registered", extra=details)
    return delivery_id is not None


async def _overtaken_by(source: ObjectVersion, *, objects: ObjectStore, deliveries: Deliveries) -> int | None:
    """The delivery after which this content came back, within one second; None if it didn't."""
    after = await deliveries.overtaken_by(source)
    # The first look may have been made before the other content came; this one is made after.
    if after is None or await objects.head(source.bucket, source.key) != source:
        return None
    return after
