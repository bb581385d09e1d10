"""What a replay is to send, and where that comes from: its topic, or the files in the bucket."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataharvest.cli.replay_bench import Bench
    from dataharvest.replaying.choosing import Gone
    from dataharvest.replaying.ports import KnownChunks
    from dataharvest.replaying.requests import Part, Replay, Request
    from dataharvest.replaying.sources import Source


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What is to be sent and where it comes from."""

    parts: "list[Part]"
    source: "Source"
    gone: "list[Gone]"
    chunks: "dict[int, KnownChunks] | None" = None
    """By delivery, where the bucket is the source."""

    @property
    def troubles(self) -> list[str]:
        """What could not be read."""
        return list(getattr(self.source, "troubles", ()))


async def chosen_by(bench: "Bench", request: "Request", replay: "Replay | None") -> Chosen:
    """The ranges of a request, or what is left of a replay that was begun; raises as `choosing.choose` does."""
    from dataharvest.replaying.choosing import choose, gone_since

    if request.from_s3:
        return await _chosen_from_s3(bench, request, replay)
    if replay is not None:
        # The range stays what it was when it began: otherwise the replay would run after its own copies.
        parts = list(replay.parts)
        gone = gone_since(parts, await bench.log.bounds(request.topic))
        return Chosen(parts=parts, source=await _topic_source(bench, request, parts), gone=gone)
    choice = await choose(request, log=bench.log, ledger=bench.ledger)
    return Chosen(parts=choice.parts, source=await _topic_source(bench, request, choice.parts), gone=choice.gone)


async def _topic_source(bench: "Bench", request: "Request", parts: "list[Part]") -> "Source":
    from dataharvest.replaying.log import Span
    from dataharvest.replaying.sources import TopicSource
    from dataharvest.replaying.subjects import Wanted

    is_about_objects = request.topic == "uploads" and request.names_sets
    keys = await bench.ledger.object_keys(request.tenant, request.business_date) if is_about_objects else set()
    spans = {one.number: Span(one.start, one.stop) for one in parts}
    return TopicSource(request.topic, bench.log, Wanted(request, object_keys=keys, spans=spans))


async def _chosen_from_s3(bench: "Bench", request: "Request", replay: "Replay | None") -> Chosen:
    from dataharvest.replaying.choosing import choose_from_s3
    from dataharvest.replaying.requests import Part
    from dataharvest.replaying.sources import BucketSource

    chunks = await choose_from_s3(request, log=bench.log, ledger=bench.ledger)
    services = bench.connected.services
    source = BucketSource(
        services.objects,
        services.deliveries,
        services.contracts,
        bench.ledger,
        {delivery_id: set(known.indexes) for delivery_id, known in chunks.items()},
    )
    parts = [Part(number, one.indexes[0], one.indexes[-1] + 1, one.indexes[0]) for number, one in chunks.items()]
    return Chosen(parts=list(replay.parts) if replay else parts, source=source, gone=[], chunks=chunks)
