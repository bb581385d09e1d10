"""Relate: link clients, portfolios, accounts and transactions of a set version by slices, and report what hangs in the air."""

import logging
from typing import Any

from dataharvest.contracts import Contract
from dataharvest.errors import ContractTrouble
from dataharvest.messages import Batch
from dataharvest.ports import LockedBatch, LockedSet, Work
from dataharvest.rulebook import RELATIONSHIP, all_rules
from dataharvest.rules.carrying import RELATED_BY
from dataharvest.rules.notifying import blocked_version_note
from dataharvest.rules.text import orphans_text
from dataharvest.stages.judge import ContractOf, default_contract

logger = logging.getLogger(__name__)


async def relate(
    batch: Batch, *, work: Work, contract_of: ContractOf = default_contract, within: LockedSet | None = None
) -> bool:
    """Store the slice's links and orphans; False when the version is cancelled, or blocked by what its contract does not allow.

    What it allows is asked after the last slice, whichever that is.

    While its contract can't be read the batch stays undone, and the sweep sends it again.
    """
    try:
        return await _relate(batch, work=work, contract_of=contract_of, within=within)
    except ContractTrouble as trouble:
        logger.error("contract can't be read, the set waits", extra={"tenant": batch.tenant, "reason": trouble.message})
        return False


async def _relate(batch: Batch, *, work: Work, contract_of: ContractOf, within: LockedSet | None) -> bool:
    async with work.open_batch(batch, within=within) as locked:
        if locked is None:
            return False
        if locked.opened.computed:
            return True
        contract = await contract_of(batch.tenant, locked.opened.contract_version)
        orphans = await locked.relate()
        # Only the last slice knows.
        failure = None if orphans is None else await _failure(orphans, locked, contract)
        # Whoever decides within the same transaction is not told of the batch first.
        provides = all_rules()[RELATIONSHIP].provides if within else None
        await locked.mark_computed(made_by=RELATED_BY, is_done=failure is None, provides=provides)
        if failure is not None:
            await locked.block(failure)
            key = batch.tenant, batch.business_date
            await locked.notify(blocked_version_note(*key, version=batch.version, failure=failure))
            logger.error("set blocked", extra={"tenant": batch.tenant, "rule": failure["rule"]})
    return failure is None


async def _failure(orphans: dict[str, int], locked: LockedBatch, contract: Contract) -> dict[str, Any] | None:
    return _orphans_that_block(orphans, contract) or await _mixed_currency(locked, contract)


def _orphans_that_block(orphans: dict[str, int], contract: Contract) -> dict[str, Any] | None:
    blocking = [orphans_text(count, kind) for kind, count in orphans.items() if kind in contract.orphans_block]
    return {"rule": "orphans", "message": ", ".join(blocking)} if blocking else None


async def _mixed_currency(locked: LockedBatch, contract: Contract) -> dict[str, Any] | None:
    if contract.mixed_currency == "sum":
        return None
    count = await locked.mixed_currency_count()
    message = f"{count} {'client has' if count == 1 else 'clients have'} accounts in more than one currency"
    return {"rule": "mixed_currency", "message": message} if count else None
