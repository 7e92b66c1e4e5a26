"""The switchboard: every message of a kit arrives here once, and goes to the API that handles its type.

A message that can never be stored is refused by number, so that the kit sets it aside instead of sending it for ever.
The switchboard knows no API: `answer` registers a type's handler, `listen_status` and `listen_presence` observers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from core.contracts import scg
from core.contracts.errors import ContractError, InvalidMessage, UnknownType
from core.contracts.seq_ranges import SeqRanges
from core.contracts.topics import Lane, topic
from relay.bus.mqtt import Bus, Settled
from relay.errors import RelayError
from relay.process.metrics import Metrics
from relay.process.supervisor import contain

SILENT_S = 15.0
"""A kit that sends nothing for this long counts as offline, even if its last will never arrived."""
MAX_KITS = 10_000

log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class KitSender:
    """A kit as the sender of messages. The acknowledgements of one commit are sent as one message per boot."""

    name: str
    bus: Bus
    pending: dict[str, SeqRanges]
    silence: asyncio.TimerHandle | None = None
    online: bool = False
    waiting: dict[tuple[str, int], list[Settled]] = field(default_factory=dict)

    @property
    def source(self) -> str:
        return "kit"

    def ack(self, boot: str, seq: int) -> None:
        """Acknowledge a message; call only after its commit."""
        if not self.pending:
            asyncio.get_running_loop().call_soon(self._send_acks)
        self.pending.setdefault(boot, SeqRanges()).add(seq)
        self.settle(boot, seq)

    def settle(self, boot: str, seq: int) -> None:
        """The bus may drop its copy: the message is committed, or never will be."""
        for settled in self.waiting.pop((boot, seq), ()):
            settled()

    def reject(self, boot: str, seq: int, code: str, text: str) -> None:
        """Tell the kit that this message will never be stored."""
        self.bus.publish(topic(self.name, Lane.ACK), scg.reject(boot, seq, code, text))
        self.settle(boot, seq)

    def _send_acks(self) -> None:
        for boot, seqs in self.pending.items():
            self.bus.publish(topic(self.name, Lane.ACK), scg.ack(boot, seqs.ranges()))
        self.pending.clear()


class Handler(Protocol):
    """Handles one message. `present` is false for backlog. The caller answers ContractError and RelayError."""

    async def __call__(self, sender: KitSender, envelope: scg.Envelope, *, present: bool) -> None: ...


StatusListener = Callable[[str, dict[str, Any], bool], None]
"""(kit, the status message's payload, whether the kit is online)"""
PresenceListener = Callable[[KitSender, bool], None]


class Switchboard:
    """A bus passes every message to `receive`."""

    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._kits: dict[str, KitSender] = {}
        self._handlers: dict[str, Handler] = {}
        self._status: list[StatusListener] = []
        self._presence: list[PresenceListener] = []

    def answer(self, types: Iterable[str], handler: Handler) -> None:
        """Pass every message of these types to `handler`; each type has one handler."""
        for kind in types:
            if kind in self._handlers:
                raise ValueError(f"messages of type {kind!r} have a handler")
            self._handlers[kind] = handler

    def listen_status(self, listener: StatusListener) -> None:
        self._status.append(listener)

    def listen_presence(self, listener: PresenceListener) -> None:
        """Called when a kit comes online, says that it goes, or has been silent for SILENT_S."""
        self._presence.append(listener)

    def command(self, kit: str, name: str, args: dict[str, Any]) -> None:
        """Send a command to a kit; its next status tells the outcome."""
        self._bus.publish(topic(kit, Lane.COMMAND), scg.message("command", {"name": name, "args": args}))

    async def receive(self, kit: str, lane: Lane, data: bytes, settled: Settled | None = None) -> None:
        """One message from the bus. An error is answered with `reject` or, for a message without a number, only logged.

        Any other exception is counted and ends with this message, which stays unacknowledged.
        """
        if not await contain(f"message of {kit}", self._take(kit, lane, data, settled)):
            self._metrics.faults.labels("kit_message").inc()

    async def _take(self, kit: str, lane: Lane, data: bytes, settled: Settled | None) -> None:
        sender = self._kit(kit)
        if lane is Lane.STATUS:
            self._take_status(sender, data)
            if settled is not None:
                settled()
            return
        envelope: scg.Envelope | None = None
        try:
            envelope = scg.decode_envelope(data)
            if settled is not None and envelope.number is not None:
                sender.waiting.setdefault(envelope.number, []).append(settled)
            if lane is Lane.LIVE:
                self._heard(sender)
            await self._handler(envelope)(sender, envelope, present=lane is Lane.LIVE)
        except (ContractError, RelayError) as error:
            self._refuse(sender, envelope, error)
            if settled is not None and (envelope is None or envelope.number is None):
                settled()

    def _handler(self, envelope: scg.Envelope) -> Handler:
        if envelope.number is None:
            raise InvalidMessage("Expected boot and seq (1, 2, …) beside type and payload")
        found = self._handlers.get(envelope.type)
        if found is None:
            raise UnknownType(f"Nothing here answers {envelope.type[:64]!r} from a kit")
        return found

    def _refuse(self, sender: KitSender, envelope: scg.Envelope | None, error: ContractError | RelayError) -> None:
        self._metrics.refused.labels(error.code).inc()
        retryable = isinstance(error, RelayError) and error.retryable
        number = envelope.number if envelope is not None else None
        log.warning("kit_message_refused", kit=sender.name, code=error.code, reason=str(error), number=number)
        if number is not None and not retryable:
            sender.reject(*number, error.code, str(error))

    def _take_status(self, sender: KitSender, data: bytes) -> None:
        try:
            payload = scg.decode_payload(scg.decode_envelope(data).payload, dict[str, Any])
        except ContractError as error:
            log.warning("kit_status_refused", kit=sender.name, reason=str(error))
            return
        online = payload.get("state") == "online"
        if online:
            self._heard(sender)
        else:
            self._gone(sender)
        for listener in self._status:
            listener(sender.name, payload, online)

    def _heard(self, sender: KitSender) -> None:
        if sender.silence is not None:
            sender.silence.cancel()
        sender.silence = asyncio.get_running_loop().call_later(SILENT_S, self._gone, sender)
        if not sender.online:
            sender.online = True
            self._metrics.kits_online.inc()
            self._tell(sender)

    def _gone(self, sender: KitSender) -> None:
        if sender.online:
            sender.online = False
            self._metrics.kits_online.dec()
        self._tell(sender)

    def _tell(self, sender: KitSender) -> None:
        for listener in self._presence:
            listener(sender, sender.online)

    def _kit(self, name: str) -> KitSender:
        found = self._kits.get(name)
        if found is None:
            if len(self._kits) >= MAX_KITS:
                self._kits = {key: kit for key, kit in self._kits.items() if kit.online or kit.pending}
            found = self._kits[name] = KitSender(name=name, bus=self._bus, pending={})
        return found


def acknowledge(sender: KitSender, envelope: scg.Envelope) -> Callable[[], None]:
    """What to call once the message is committed."""
    number = envelope.number
    assert number is not None
    return lambda: sender.ack(*number)
