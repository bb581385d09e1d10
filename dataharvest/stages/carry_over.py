"""Carry over: what a corrected set need not compute again, for it is made from the same as in the version published before."""

from collections.abc import Mapping

from dataharvest.entities import all_entities
from dataharvest.messages import RuleReady
from dataharvest.outbound import OutboundMessage, all_outbound
from dataharvest.ports import BesideBase, Work
from dataharvest.rulebook import RELATIONSHIP
from dataharvest.rules import needs
from dataharvest.rules.carrying import LINKS_FROM, NOTHING, ORPHANS_FROM, Carried, is_from_links
from dataharvest.transformers import Transformer, all_transformers

_LINKS = f"{RELATIONSHIP}.links"


async def carry_over(ready: RuleReady, rule: needs.Rule, *, work: Work) -> Carried:
    """What the batches of a ready rule take over from the version's base; nothing where there is none."""
    async with work.beside_base(ready) as pair:
        if pair is None:
            return NOTHING
        if rule.work is needs.Work.RELATE:
            return Carried(await _relation(pair))
        if _LINKS not in pair.carried:
            # Whatever follows from the links may be another for every client.
            return NOTHING
        if rule.work is needs.Work.TRANSFORM:
            return await _values(pair, all_transformers()[ready.rule])
        return await _messages(pair, all_outbound()[ready.rule])


async def _relation(pair: BesideBase) -> tuple[str, ...]:
    halves = {"links": LINKS_FROM, "orphans": ORPHANS_FROM}
    return tuple([name for name, columns_of in halves.items() if await _has_all_the_same(pair, columns_of)])


async def _has_all_the_same(pair: BesideBase, columns_of: Mapping[str, tuple[str, ...]]) -> bool:
    for entity, columns in columns_of.items():
        if not await pair.has_same(entity, columns):
            return False
    return True


async def _values(pair: BesideBase, transformer: Transformer) -> Carried:
    if await pair.base_made_by(transformer.name) != transformer.made_by:
        return NOTHING
    # With its links a record also keeps the clients and portfolios that it concerns.
    read = {name: (*all_entities()[name].linked, *columns) for name, columns in transformer.reads.items()}
    rows = {name: columns for name, columns in read.items() if not is_from_links(name, transformer.reads[name])}
    return Carried(("values",)) if await _has_all_the_same(pair, rows) else NOTHING


async def _messages(pair: BesideBase, outbound: OutboundMessage) -> Carried:
    if await pair.base_made_by(outbound.topic) != outbound.made_by:
        return NOTHING
    references = await pair.changed_references(outbound)
    return NOTHING if references is None else Carried(("messages",), references)
