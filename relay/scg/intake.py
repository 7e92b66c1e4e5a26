"""Takes in samples: counted by (session, boot, seq), stored once, acknowledged after the commit, shown live.

Phones and kits share this one path. It never waits: a message taken in here has been handed to the writer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import msgspec
import structlog

from core.contracts import scg
from relay.process.metrics import Metrics
from relay.process.tracing import MS, Tracing
from relay.scg.entries import Entry
from relay.scg.feeds import Feed
from relay.scg.live import Live
from relay.scg.writer import Writer

log = structlog.get_logger(__name__)


class Sender(Protocol):
    """Where a message came from, and where its acknowledgement goes."""

    @property
    def source(self) -> str: ...
    def ack(self, boot: str, seq: int) -> None: ...


class Intake:
    """`feed` tells the other relays what came in here."""

    def __init__(self, writer: Writer, metrics: Metrics, feed: Feed, tracing: Tracing) -> None:
        self._writer = writer
        self._metrics = metrics
        self._feed = feed
        self._tracing = tracing

    def take(
        self,
        live: Live,
        envelope: scg.Envelope,
        batch: scg.SamplesBatch,
        columns: scg.Columns,
        sender: Sender,
        *,
        present: bool = True,
    ) -> None:
        """Store a batch once, and acknowledge it after its commit. A `present` (live) batch is also shown."""
        number = envelope.number
        if number is not None and not live.first_taken(*number):
            self._metrics.duplicates.inc()
            if live.is_stored(*number):
                sender.ack(*number)
            return
        self._metrics.samples_received.labels(sender.source).inc(len(columns))
        taken_ns = time.time_ns()
        boot, seq = number or live.own_number()
        newest_ns = float(columns.t.max()) * MS
        self._tracing.span("received", live.session.id, (boot, seq), newest_ns, samples=len(columns))

        def done() -> None:
            self._tracing.span("stored", live.session.id, (boot, seq), taken_ns)
            if number is not None:
                live.mark_stored(*number)
                sender.ack(*number)

        self._writer.submit(
            Entry(session=live.session.id, done=done, columns=columns, boot=boot, seq=seq, clock=batch.clock)
        )
        if present and self._feed.shows(sender.source):
            live.show(columns, batch.clock.error_ms if batch.clock else None)
            self._tracing.span("shown", live.session.id, (boot, seq), taken_ns, viewers=len(live.room.members))
            self._feed.share(live, msgspec.structs.replace(envelope, session=live.session.id, boot=boot, seq=seq))

    def describe(self, live: Live, done: Callable[[], None], **changes: Any) -> None:
        """Write what is learnt (device, unit, sensor, start) into the session's row; texts cut to 512 characters."""
        bounded: dict[str, Any] = {k: v[:512] if isinstance(v, str) else v for k, v in changes.items()}
        live.become(replace(live.session, **bounded))

        def stored() -> None:
            self._feed.changed(live)
            done()

        self._writer.submit(Entry(session=live.session.id, done=stored, put=live.session))

    def ended(self, live: Live, at_ms: float, done: Callable[[], None]) -> Entry:
        """The entry that ends a session. Only the first end counts, and it is announced once, after its commit."""
        first = live.session.ended_at_ms is None
        if first:
            live.session = replace(live.session, ended_at_ms=at_ms)

        def stored() -> None:
            if first:
                live.announce("session_ended")
                self._feed.changed(live)
                log.info("session_ended", session=live.session.id)
            done()

        return Entry(session=live.session.id, done=stored, ended_at_ms=at_ms)
