"""The side towards the kits: their messages come in from the bus, acknowledgements and refusals go out to it.

What can never be stored is refused by number, so that a kit sets it aside and says so instead of sending it for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog

from core.contracts import scg
from core.contracts.errors import ContractError, InvalidMessage, UnknownType
from core.contracts.topics import Lane, topic
from relay.bus import Bus
from relay.errors import RelayError
from relay.metrics import Metrics
from relay.scg.live import Live
from relay.scg.rules import SeqRanges
from relay.scg.service import ScgService, Sender, canonical
from relay.scg.store import Store

SILENT_S = 15.0
"""A kit that says nothing for so long counts as gone, even if its last will never came."""
MAX_KITS = 10_000

log = structlog.get_logger(__name__)


class _Status(msgspec.Struct):
    state: str = "offline"


@dataclass(eq=False, slots=True)
class _Kit(Sender):
    """A kit as the sender of messages. Acknowledgements of one commit leave as one message a boot."""

    name: str
    bus: Bus
    pending: dict[str, SeqRanges]
    silence: asyncio.TimerHandle | None = None
    online: bool = False

    @property
    def source(self) -> str:
        return "kit"

    def ack(self, boot: str, seq: int) -> None:
        if not self.pending:
            asyncio.get_running_loop().call_soon(self._send_acks)
        self.pending.setdefault(boot, SeqRanges()).add(seq)

    def reject(self, boot: str, seq: int, code: str, text: str) -> None:
        self.bus.publish(topic(self.name, Lane.ACK), scg.reject(boot, seq, code, text))

    def _send_acks(self) -> None:
        for boot, seqs in self.pending.items():
            self.bus.publish(topic(self.name, Lane.ACK), scg.ack(boot, seqs.ranges()))
        self.pending.clear()


class KitGateway:
    """Takes every message of every kit and hands it to the same service a phone's socket reaches."""

    def __init__(self, service: ScgService, store: Store, bus: Bus, metrics: Metrics) -> None:
        self._service = service
        self._store = store
        self._bus = bus
        self._metrics = metrics
        self._kits: dict[str, _Kit] = {}

    async def receive(self, kit: str, lane: Lane, data: bytes) -> None:
        """One message from the bus. Errors are answered with `reject` or, without a number to name, logged."""
        sender = self._kit(kit)
        if lane is Lane.STATUS:
            self._status(sender, data)
            return
        envelope: scg.Envelope | None = None
        try:
            envelope = scg.decode_envelope(data)
            await self._handle(sender, envelope, present=lane is Lane.LIVE)
        except (ContractError, RelayError) as error:
            self._refuse(sender, envelope, error)

    async def _handle(self, sender: _Kit, envelope: scg.Envelope, *, present: bool) -> None:
        if envelope.session is None or envelope.number is None:
            raise InvalidMessage("Expected session, boot and seq (1, 2, …) beside type and payload")
        session_id = canonical(envelope.session)
        await self._store.space()
        live = await self._service.live(session_id, kit=sender.name)
        if live.session.kit != sender.name:
            raise InvalidMessage("This session belongs to somebody else; begin another with a UUID of its own")
        if envelope.type == "samples_batch":
            self._samples(live, sender, envelope, present=present)
        elif envelope.type == "session_started":
            self._started(live, sender, envelope)
        elif envelope.type == "session_ended":
            ended = scg.decode_payload(envelope.payload, scg.SessionEnded)
            done = _acknowledge(sender, envelope)
            self._store.submit(self._service.ended(live, _epoch_ms(ended.ended_at), done))
        else:
            raise UnknownType(f"Nothing here answers {envelope.type[:64]!r} from a kit")

    def _samples(self, live: Live, sender: _Kit, envelope: scg.Envelope, *, present: bool) -> None:
        batch = scg.decode_payload(envelope.payload, scg.SamplesBatch)
        columns = scg.columns(batch)
        if present:
            self._heard(sender)
            if live.presence.patient is None:
                live.presence.seat(sender)
                live.announce("patient_connected")
        self._service.take(live, envelope, batch, columns, sender, present=present)

    def _started(self, live: Live, sender: _Kit, envelope: scg.Envelope) -> None:
        started = scg.decode_payload(envelope.payload, scg.SessionStarted)
        self._service.describe(
            live,
            _acknowledge(sender, envelope),
            started_at_ms=_epoch_ms(started.started_at),
            user_agent=started.device.user_agent,
            platform=started.device.platform,
            unit=started.unit,
            sensor=msgspec.to_builtins(started.sensor) if started.sensor else None,
        )

    def _refuse(self, sender: _Kit, envelope: scg.Envelope | None, error: ContractError | RelayError) -> None:
        self._metrics.refused.labels(error.code).inc()
        retryable = isinstance(error, RelayError) and error.retryable
        number = envelope.number if envelope is not None else None
        log.warning("kit_message_refused", kit=sender.name, code=error.code, reason=str(error), number=number)
        if number is not None and not retryable:
            sender.reject(*number, error.code, str(error))

    def _status(self, sender: _Kit, data: bytes) -> None:
        try:
            state = scg.decode_payload(scg.decode_envelope(data).payload, _Status).state
        except ContractError as error:
            log.warning("kit_status_refused", kit=sender.name, reason=str(error))
            return
        if state == "online":
            self._heard(sender)
        else:
            self._gone(sender)

    def _heard(self, sender: _Kit) -> None:
        if sender.silence is not None:
            sender.silence.cancel()
        sender.silence = asyncio.get_running_loop().call_later(SILENT_S, self._gone, sender)
        if not sender.online:
            sender.online = True
            self._metrics.kits_online.inc()

    def _gone(self, sender: _Kit) -> None:
        if sender.online:
            sender.online = False
            self._metrics.kits_online.dec()
        for live in self._service.of_kit(sender.name):
            if live.presence.patient is sender:
                live.presence.patient = None
                live.announce("patient_disconnected")

    def _kit(self, name: str) -> _Kit:
        found = self._kits.get(name)
        if found is None:
            if len(self._kits) >= MAX_KITS:
                self._kits = {key: kit for key, kit in self._kits.items() if kit.online or kit.pending}
            found = self._kits[name] = _Kit(name=name, bus=self._bus, pending={})
        return found


def _acknowledge(sender: Sender, envelope: scg.Envelope) -> Callable[[], None]:
    number = envelope.number
    assert number is not None
    return lambda: sender.ack(*number)


def _epoch_ms(moment: str) -> float:
    try:
        return datetime.fromisoformat(moment).timestamp() * 1000
    except ValueError:
        raise InvalidMessage("Expected an ISO 8601 time such as 2025-07-21T14:30:00.123Z") from None
