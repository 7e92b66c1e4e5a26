"""The sockets in sessions' rooms: who enters as what, and what each of their messages does.

A viewer gets the backlog first, then live data. The first to send samples is the patient; there is only one.
"""

from __future__ import annotations

from core.contracts import scg
from core.contracts.errors import ContractError, InvalidMessage, UnknownType
from relay.clock import Clock
from relay.errors import Full, RelayError, SessionTaken
from relay.process.metrics import Metrics
from relay.rooms import Audience, Member
from relay.scg.entries import unawaited
from relay.scg.feeds import Feed
from relay.scg.intake import Intake, Sender
from relay.scg.live import Live
from relay.scg.rules import Part


class Sockets:
    """Limits the sockets of all sessions together to `most`."""

    def __init__(self, intake: Intake, feed: Feed, clock: Clock, metrics: Metrics, *, most: int) -> None:
        self._intake = intake
        self._feed = feed
        self._clock = clock
        self._metrics = metrics
        self._most = most
        self._count = 0

    def check_room(self) -> None:
        """Raises Full when no further socket is allowed."""
        if self._count >= self._most:
            raise Full("This relay holds as many sockets as it may. Try again in a moment.")

    async def expect(self, live: Live) -> None:
        """Before a socket enters: subscribe to other relays' data of this session. Raises Full when that fails."""
        await self._feed.watch(live)

    def enter(self, live: Live, member: Member, part: Part, after: float | None = None) -> None:
        """Seat a socket: send the backlog (what follows `after`), then live data; announce it to the room."""
        if part is not Part.PATIENT and live.line is None:
            live.start_line()
        if member.audience is Audience.ANALYST:
            live.room.send(member, live.info())
        backlog = live.backlog(after) if part is not Part.PATIENT else None
        if backlog is not None:
            live.room.send(member, backlog)
        live.room.join(member)
        if after is not None:
            live.wait_for(member, after)
        self._counted(1)
        if status := live.presence.join(member, part):
            live.announce(status)
        if live.session.ended_at_ms is not None:
            live.room.send(member, scg.status_update("session_ended", live.presence.viewer_count))
        self._feed.present(live)

    def leave(self, live: Live, member: Member, part: Part) -> None:
        live.room.leave(member)
        live.ahead.pop(member, None)
        self._counted(-1)
        live.announce(live.presence.leave(member, part))
        if not live.watched:
            live.stop_line()
        self._feed.present(live)
        if not live.room.members:
            self._feed.unwatch(live)

    def _counted(self, change: int) -> None:
        self._count += change
        self._metrics.sockets.set(self._count)

    def message(self, live: Live, member: Member, part: Part, data: str | bytes, sender: Sender) -> None:
        """Handle one message of a socket. An invalid message is answered with an error; the socket stays open."""
        try:
            envelope = scg.decode_envelope(data)
            if envelope.type == "samples_batch":
                self._samples(live, member, part, envelope, sender)
            elif envelope.type == "device":
                self._device(live, member, part, envelope)
            elif envelope.type == "ping":
                ping = scg.decode_payload(envelope.payload, scg.Ping)
                pong = {"sent": ping.sent, "serverTime": self._clock.now_ms()}
                live.room.send(member, scg.message("pong", pong))
            else:
                raise UnknownType(
                    f"Nothing here answers {envelope.type[:64]!r}; expected samples_batch, device or ping"
                )
        except (ContractError, RelayError) as error:
            self._metrics.refused.labels(error.code).inc()
            live.room.send(member, scg.error(error.code, str(error)))

    def _samples(self, live: Live, member: Member, part: Part, envelope: scg.Envelope, sender: Sender) -> None:
        batch = scg.decode_payload(envelope.payload, scg.SamplesBatch)
        columns = scg.columns(batch)
        if live.session.ended_at_ms is not None and envelope.number is None:
            raise InvalidMessage("The session has ended; begin a new one with POST /api/v1/sessions")
        live.must_be_browsers()
        newcomer = live.presence.patient is not member
        if not live.presence.claim(member, part, envelope.boot):
            raise SessionTaken("This session has its patient already; only one may send samples")
        if newcomer:
            live.room.move(member, Audience.PATIENT)
            live.announce("patient_connected")
            if not live.watched:
                live.stop_line()
            self._feed.present(live)
        self._intake.take(live, envelope, batch, columns, sender)

    def _device(self, live: Live, member: Member, part: Part, envelope: scg.Envelope) -> None:
        said = scg.decode_payload(envelope.payload, scg.DeviceSaid)
        live.must_be_browsers()
        may = part is Part.PATIENT or (part is Part.UNKNOWN and live.presence.patient in (None, member))
        if not may:
            raise SessionTaken("Only the patient's side says which device measures")
        self._intake.describe(live, unawaited, user_agent=said.user_agent, platform=said.platform, unit=said.unit)
