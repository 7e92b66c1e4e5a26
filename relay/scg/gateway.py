"""Kits in heart sessions. A kit is a patient without a socket; its samples go through the same intake as a phone's."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from core.contracts import scg
from core.contracts.errors import InvalidMessage
from relay.bus.switchboard import KitSender, acknowledge
from relay.scg.feeds import Feed
from relay.scg.intake import Intake
from relay.scg.live import Live
from relay.scg.sessions import LiveSessions, canonical
from relay.scg.writer import Writer

TYPES = ("session_started", "samples_batch", "session_ended")
EPOCH, LAST_YEAR = datetime(1970, 1, 1, tzinfo=UTC), 9999


class KitGateway:
    """`take` handles the message TYPES of a kit; `presence` frees the patient's place when the kit goes offline."""

    def __init__(self, sessions: LiveSessions, intake: Intake, writer: Writer, feed: Feed) -> None:
        self._sessions = sessions
        self._intake = intake
        self._writer = writer
        self._feed = feed

    async def take(self, sender: KitSender, envelope: scg.Envelope, *, present: bool) -> None:
        if envelope.session is None:
            raise InvalidMessage("Expected session beside type and payload")
        session_id = canonical(envelope.session)
        await self._writer.space()
        live = await self._sessions.of(session_id, kit=sender.name)
        if live.session.kit != sender.name:
            raise InvalidMessage("This session belongs to somebody else; begin another with a UUID of its own")
        if envelope.type == "samples_batch":
            self._samples(live, sender, envelope, present=present)
        elif envelope.type == "session_started":
            self._started(live, sender, envelope)
        else:
            ended = scg.decode_payload(envelope.payload, scg.SessionEnded)
            done = acknowledge(sender, envelope)
            self._writer.submit(self._intake.ended(live, _epoch_ms(ended.ended_at), done))

    def presence(self, sender: KitSender, online: bool) -> None:
        if online:
            return
        for live in self._sessions.of_kit(sender.name):
            if live.presence.patient is sender:
                live.presence.patient = None
                live.announce("patient_disconnected")

    def _samples(self, live: Live, sender: KitSender, envelope: scg.Envelope, *, present: bool) -> None:
        batch = scg.decode_payload(envelope.payload, scg.SamplesBatch)
        columns = scg.columns(batch)
        if present and self._feed.shows(sender.source) and not live.presence.measured:
            live.presence.seat(sender)
            live.announce("patient_connected")
        self._intake.take(live, envelope, batch, columns, sender, present=present)

    def _started(self, live: Live, sender: KitSender, envelope: scg.Envelope) -> None:
        started = scg.decode_payload(envelope.payload, scg.SessionStarted)
        self._intake.describe(
            live,
            acknowledge(sender, envelope),
            started_at_ms=_epoch_ms(started.started_at),
            user_agent=started.device.user_agent,
            platform=started.device.platform,
            unit=started.unit,
            sensor=msgspec.to_builtins(started.sensor) if started.sensor else None,
        )


def _epoch_ms(moment: str) -> float:
    try:
        found = datetime.fromisoformat(moment).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidMessage("Expected an ISO 8601 time such as 2025-07-21T14:30:00.123Z") from None
    if not EPOCH.year <= found.year < LAST_YEAR:
        raise InvalidMessage(f"Expected a time of the years {EPOCH.year} to {LAST_YEAR - 1}")
    return (found - EPOCH).total_seconds() * 1000
