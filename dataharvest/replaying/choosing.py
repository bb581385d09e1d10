"""From what is asked for to ranges of offsets: what the topic still has of it, and what it has lost."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from dataharvest.errors import Rejected
from dataharvest.replaying.log import Span, TopicLog
from dataharvest.replaying.ports import Arrival, KnownChunks, ReplayLedger
from dataharvest.replaying.requests import Part, Request

_CLOCKS_DIFFER = timedelta(minutes=5)
_EVENT_BEFORE_OBJECT = timedelta(hours=1)
"""An event may be much older than what the bucket says of its object's last change."""


class Gone(NamedTuple):
    """Offsets that were asked for and that the topic has lost."""

    partition: int
    span: Span

    @property
    def sentence(self) -> str:
        """What is missing, for a person."""
        return f"partition {self.partition}: offsets {self.span.start:,} to {self.span.stop - 1:,} are gone (retention)"


class Choice(NamedTuple):
    """The ranges of a request."""

    spans: dict[int, Span]
    """What the topic has of them, by partition."""
    gone: list[Gone]

    @property
    def parts(self) -> list[Part]:
        """The ranges, of which nothing is done yet."""
        return [Part(number, span.start, span.stop, span.start) for number, span in self.spans.items()]


async def choose(request: Request, *, log: TopicLog, ledger: ReplayLedger) -> Choice:
    """The ranges that a request for messages of a topic means.

    Raises:
        Rejected: rule ``no_such_partition``, or ``nothing_arrived`` when no file of the sets it names ever came.
        Misconfigured: there is no such topic.
        Unavailable: Kafka or PostgreSQL is not there.
    """
    bounds = await log.bounds(request.topic)
    if request.partition is not None and request.partition not in bounds:
        message = f"{request.topic} has the partitions 0 to {max(bounds)}, not {request.partition}"
        raise Rejected(message, rule="no_such_partition")
    if request.partition is not None:
        bounds = {request.partition: bounds[request.partition]}
    asked = await _asked(request, bounds, log=log, ledger=ledger)
    spans = {number: _within(span, bounds[number]) for number, span in asked.items()}
    gone = [Gone(number, lost) for number, span in asked.items() for lost in _lost(span, bounds[number])]
    return Choice({number: span for number, span in spans.items() if span.start < span.stop}, gone)


def gone_since(parts: Iterable[Part], bounds: Mapping[int, Span]) -> list[Gone]:
    """What the topic has lost of these parts since they were chosen and before it was sent."""
    return [Gone(one.number, lost) for one in parts if one.left for lost in _lost(Span(one.next, one.stop), bounds[one.number])]


async def choose_from_s3(request: Request, *, log: TopicLog, ledger: ReplayLedger) -> dict[int, KnownChunks]:
    """The chunks that a request means, by delivery, wherever the topic is by now. Raises as `choose` does."""
    spans: dict[int, Span] | None = None
    if request.has_offsets or request.partition is not None:
        bounds = await log.bounds(request.topic)
        start, stop = request.from_offset or 0, request.to_offset
        numbers = bounds if request.partition is None else [request.partition]
        spans = {number: Span(start, (1 << 62) if stop is None else stop) for number in numbers}
    if request.names_sets:
        await _require_arrived(request, ledger)
    return await ledger.chunks_in(request, spans)


async def _asked(request: Request, bounds: Mapping[int, Span], *, log: TopicLog, ledger: ReplayLedger) -> dict[int, Span]:
    if request.names_sets:
        await _require_arrived(request, ledger)
    if request.has_times:
        starts = await _offsets(request.from_time, bounds, request.topic, log=log, otherwise="start")
        stops = await _offsets(request.to_time, bounds, request.topic, log=log, otherwise="stop")
        return {number: Span(starts[number], stops[number]) for number in bounds}
    if request.has_offsets:
        start, stop = request.from_offset, request.to_offset
        return {
            number: Span(span.start if start is None else start, span.stop if stop is None else stop)
            for number, span in bounds.items()
        }
    return await _of_sets(request, bounds, log=log, ledger=ledger)


async def _of_sets(request: Request, bounds: Mapping[int, Span], *, log: TopicLog, ledger: ReplayLedger) -> dict[int, Span]:
    arrival = await _require_arrived(request, ledger)
    if request.topic != "chunks":
        since = await _offsets(arrival.modified_at - _EVENT_BEFORE_OBJECT, bounds, request.topic, log=log, otherwise="start")
        return {number: Span(since[number], span.stop) for number, span in bounds.items()}
    known = await ledger.spans(request.tenant, request.business_date)
    # From before the first chunk in the ledger: one that got lost may have been sent before it.
    since = await _offsets(arrival.registered_at - _CLOCKS_DIFFER, bounds, request.topic, log=log, otherwise="start")
    return {
        number: Span(min(span.start or since[number], since[number]), span.stop)
        for number, span in known.items()
        if number in bounds
    }


async def _require_arrived(request: Request, ledger: ReplayLedger) -> Arrival:
    arrival = await ledger.arrival(request.tenant, request.business_date)
    if arrival is None:
        whose = f" of {request.tenant}" if request.tenant else ""
        when = f" for {request.business_date}" if request.business_date else ""
        raise Rejected(f"nothing{whose}{when} ever arrived", rule="nothing_arrived")
    return arrival


async def _offsets(
    moment: datetime | None, bounds: Mapping[int, Span], topic: str, *, log: TopicLog, otherwise: str
) -> dict[int, int]:
    if moment is None:
        return {number: getattr(span, otherwise) for number, span in bounds.items()}
    found = await log.offsets_at(topic, moment, partitions=bounds)
    return {number: _offset(found.get(number), span) for number, span in bounds.items()}


def _offset(found: int | None, span: Span) -> int:
    if found is None:
        # Everything is older: the range begins, or ends, behind the last message.
        return span.stop
    # The first that is left may not be the first there was since then: what is lost may have been meant too.
    return 0 if found <= span.start else found


def _within(span: Span, bounds: Span) -> Span:
    return Span(max(span.start, bounds.start), min(span.stop, bounds.stop))


def _lost(span: Span, bounds: Span) -> list[Span]:
    lost = Span(span.start, min(span.stop, bounds.start))
    return [lost] if lost.start < lost.stop else []
