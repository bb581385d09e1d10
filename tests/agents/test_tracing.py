"""One trace follows a file from its upload's event to the messages; the other files of the set are linked to it."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dataharvest import tracing
from tests.agents.worlds import World, example_files


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.switch_on(exporter, at_once=True)
    yield exporter
    tracing.switch_off()


def ids(span: ReadableSpan) -> tuple[int, int]:
    assert span.context is not None
    return span.context.trace_id, span.context.span_id


def ancestors(span: ReadableSpan, by_id: dict[tuple[int, int], ReadableSpan]) -> list[str]:
    """Names of the spans that led to this one, itself last."""
    names = [span.name]
    while span.parent is not None:
        span = by_id[span.parent.trace_id, span.parent.span_id]
        names.insert(0, span.name)
    return names


def trace_of(headers: tuple[tuple[str, bytes | None], ...]) -> tuple[int, int]:
    [(_, value)] = headers
    assert value
    _, trace_id, span_id, _ = value.decode().split("-")
    return int(trace_id, 16), int(span_id, 16)


async def test_a_trace_goes_from_upload_to_outbound_message_and_links_the_other_files(spans: InMemorySpanExporter) -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()

    found = {ids(span): span for span in spans.get_finished_spans()}
    outbound = world.outbound()
    assert len(outbound) == 8
    for message in outbound:
        path = ancestors(found[trace_of(message.headers)], found)
        assert path[0] == "register"
        assert path[-1] == "work"
        steps = iter(path)
        assert all(step in steps for step in ("register", "split", "fold", "work", "fold", "ready", "work")), path
    registered = {ids(span)[0] for span in found.values() if span.name == "register"}
    [ready] = [span for span in found.values() if span.name == "ready"]
    assert len(registered) == 4
    assert {link.context.trace_id for link in ready.links} == registered
    assert {trace_of(message.headers)[0] for message in outbound} == {ids(ready)[0]}


async def test_every_chunk_of_a_file_is_in_the_file_s_trace(spans: InMemorySpanExporter) -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()

    names: dict[int, list[str]] = {}
    for span in spans.get_finished_spans():
        names.setdefault(ids(span)[0], []).append(span.name)
    assert len(names) == 4
    for stored in world.ledger.deliveries.values():
        assert stored.traceparent
        found = names[int(stored.traceparent[3:35], 16)]
        assert found.count("persist") == len(stored.chunks) > 1
        assert found.count("register") == found.count("split") == 1


async def test_without_traces_no_message_has_a_header() -> None:
    world = World()
    async with world.agents() as agents:
        await agents.upload(example_files())
        await agents.run()

    assert {one.headers for one in world.sender.sent} == {()}
