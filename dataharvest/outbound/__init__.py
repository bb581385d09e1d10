"""The outbound messages: one module each, found by being there."""

from functools import cache

from dataharvest.outbound.model import OutboundMessage, outbound
from dataharvest.plugins import members_by_name, modules_of

__all__ = ["OutboundMessage", "all_outbound", "outbound"]


@cache
def all_outbound() -> dict[str, OutboundMessage]:
    """Every outbound message by topic, in order of topic."""
    return members_by_name(modules_of(__name__), OutboundMessage, lambda one: one.topic)
