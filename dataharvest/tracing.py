"""Traces: spans that follow a file through Kafka's headers and the ledger, from its upload to the messages; off by default.

While they are off nothing is imported, kept or sent. Spans hold ids, never contents of records, nor what an exception says.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

HEADER = "traceparent"
"""Kafka header with the span that sent the message, as W3C Trace Context writes it."""

Attributes = Mapping[str, str | int]

_provider: "TracerProvider | None" = None
_NOTHING: AbstractContextManager[None] = nullcontext()
_NO_HEADERS: tuple[tuple[str, bytes], ...] = ()


def is_on() -> bool:
    """Whether spans are made."""
    return _provider is not None


def switch_on(exporter: "SpanExporter", *, at_once: bool = False) -> None:
    """Make spans from now on and give them to the exporter, in batches from a thread of its own or each ``at_once``."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

    global _provider
    # OTEL_TRACES_SAMPLER and OTEL_RESOURCE_ATTRIBUTES are read by the SDK itself.
    _provider = TracerProvider(resource=Resource.create({"service.name": "dataharvest"}))
    _provider.add_span_processor(SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter))


def switch_on_for(url: str | None) -> None:
    """Send spans to a collector that understands OTLP over HTTP; nothing without an address."""
    if url is not None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        switch_on(OTLPSpanExporter(endpoint=url))


def switch_off() -> None:
    """Send what is still held, a few seconds at most, and make no spans any more."""
    global _provider
    if _provider is not None:
        provider, _provider = _provider, None
        provider.force_flush(3000)
        provider.shutdown()


def span(
    name: str, attributes: Attributes, *, parent: str | None = None, links: Iterable[str] = ()
) -> AbstractContextManager[None]:
    """A span around the block: a child of ``parent``, or else of the span around it; what the block sends belongs to it.

    Args:
        name: the stage.
        attributes: ids.
        parent: a traceparent, for what goes on in another process; one that can't be read begins a new trace.
        links: traceparents of what else led here.
    """
    return _NOTHING if _provider is None else _span(name, attributes, parent, links)


def continued(parent: str | None) -> AbstractContextManager[None]:
    """No span, but what the block sends belongs to this one; to the one around it where none is given."""
    return _NOTHING if _provider is None or parent is None else _continued(parent)


def traceparent() -> str | None:
    """The span around the caller, as a header or a row keeps it; None outside of any."""
    if _provider is None:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(HEADER)


def headers() -> tuple[tuple[str, bytes], ...]:
    """Kafka headers of a message that is sent now."""
    if _provider is None:
        return _NO_HEADERS
    found = traceparent()
    return ((HEADER, found.encode()),) if found else _NO_HEADERS


def parent_in(received: Any) -> str | None:
    """The traceparent among a message's headers, however the client keeps them."""
    if _provider is None or not received:
        return None
    pairs = received.items() if isinstance(received, dict) else received
    found = next((value for name, value in pairs if name == HEADER), None)
    return found.decode("ascii", "replace") if isinstance(found, bytes) else found


@contextmanager
def _span(name: str, attributes: Attributes, parent: str | None, links: Iterable[str]) -> Iterator[None]:
    from opentelemetry import trace

    assert _provider is not None
    tracer = _provider.get_tracer("dataharvest")
    linked = [trace.Link(trace.get_current_span(_context(one)).get_span_context()) for one in links]
    named = {f"dataharvest.{key}": value for key, value in attributes.items()}
    with tracer.start_as_current_span(
        name, context=_context(parent) if parent else None, links=linked, attributes=named, record_exception=False,
        set_status_on_exception=False,
    ) as current:  # fmt: skip
        try:
            yield
        except BaseException as error:
            current.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise


@contextmanager
def _continued(parent: str) -> Iterator[None]:
    from opentelemetry import context

    token = context.attach(_context(parent))
    try:
        yield
    finally:
        context.detach(token)


def _context(parent: str) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # An empty context first: what can't be read must not fall back to whatever span is around us.
    return TraceContextTextMapPropagator().extract({HEADER: parent}, context=Context())
