"""The outbound messages: one module each, found by being there."""

from functools import cache

from dataharvest.outbound.model import OutboundMessage, outbound
from dataharvest.plugins import modules_of

__all__ = ["OutboundMessage", "all_outbound", "outbound"]


@cache
def all_outbound() -> dict[str, OutboundMessage]:
    """Every outbound message by topic, in order of topic."""
    members = [member for module in modules_of(__name__) for member in vars(module).values()]
    found = {member.topic: member for member in members if isinstance(member, OutboundMessage)}
    return dict(sorted(found.items()))
