"""OpenTelemetry traces of a sample's way: sensor to relay, relay to database, relay to viewers. Off by default.

Trace ids are derived from the message's number, so that all relays which it passes add to the same trace and choose the
same one message in `every` without communicating. No span names a person, a kit or a session.
"""

from __future__ import annotations

import time
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from relay.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context

MS = 1_000_000
PLAUSIBLE_NS = 86_400 * 1_000_000_000
"""Sample times within a day of the relay's clock are epoch times, from which a duration can be measured."""


class Tracing(Protocol):
    """`span` may be called for any message; only one in `every` is traced."""

    def span(self, name: str, session: str, number: tuple[str, int], began_ns: float, **facts: int) -> None: ...
    def close(self) -> None: ...


class Untraced:
    """Tracing is off: does nothing."""

    def span(self, name: str, session: str, number: tuple[str, int], began_ns: float, **facts: int) -> None:
        return

    def close(self) -> None:
        return


class Traced:
    """Sends spans to a collector by OTLP over HTTP, in batches, from a thread of the SDK."""

    def __init__(self, tracer: Any, provider: Any, every: int) -> None:
        self._tracer = tracer
        self._provider = provider
        self._every = every

    def span(self, name: str, session: str, number: tuple[str, int], began_ns: float, **facts: int) -> None:
        """A span from `began_ns` (epoch) until now."""
        digest = blake2b(f"{session}\0{number[0]}\0{number[1]}".encode(), digest_size=24).digest()
        if int.from_bytes(digest[:4]) % self._every:
            return
        now_ns = time.time_ns()
        began = int(began_ns) if abs(now_ns - began_ns) < PLAUSIBLE_NS else now_ns
        found = self._tracer.start_span(name, context=_parent(digest), start_time=min(began, now_ns), attributes=facts)
        found.end(now_ns)

    def close(self) -> None:
        self._provider.shutdown()


def _parent(digest: bytes) -> Context:
    """A parent context derived from the message, shared by all its spans."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    trace, span = int.from_bytes(digest[:16]) or 1, int.from_bytes(digest[16:]) or 1
    where = SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
    return set_span_in_context(NonRecordingSpan(where))


def open_tracing(endpoint: str, every: int, version: str) -> Tracing:
    """Tracing to a collector such as http://127.0.0.1:4318/v1/traces; SettingsError when the SDK is not installed."""
    if not endpoint:
        return Untraced()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"tracing.endpoint needs {error.name}. Install it:  pip install 'homeside[tracing]'"
        ) from None
    named = Resource.create({"service.name": "homeside-relay", "service.version": version})
    provider = TracerProvider(resource=named, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=5)))
    return Traced(provider.get_tracer("homeside.relay"), provider, every)
