"""The interface to the kits: stores the letters and sequences they read, once each; shows and translates them."""

from __future__ import annotations

import msgspec

from core.contracts import scg
from core.contracts.errors import InvalidMessage
from core.contracts.signs import KitLetters, decode_payload
from core.fingerspelling.sequence import Taken
from relay.bus.switchboard import KitSender, acknowledge
from relay.signs.detection.service import SigningService
from relay.signs.store import SignStore

TYPES = ("letters",)


class KitSigns:
    """Takes `letters` messages from the switchboard. Those delivered late are stored but not shown to watchers."""

    def __init__(self, service: SigningService, store: SignStore) -> None:
        self._service = service
        self._store = store

    async def take(self, sender: KitSender, envelope: scg.Envelope, *, present: bool) -> None:
        read = decode_payload(envelope.payload, KitLetters)
        if envelope.number is None:
            raise InvalidMessage("Expected boot and seq (1, 2, …) beside type and payload")
        self._service.begun(read.session_id, sender.name)
        fresh = await self._store.message(sender.name, read.session_id, envelope.number, msgspec.to_builtins(read))
        acknowledge(sender, envelope)()
        if not (fresh and present):
            return
        if read.sequence:
            taken = [Taken(one.sign, one.confidence, one.t, tuple(one.likely)) for one in read.sequence]
            self._service.translate(taken, read.session_id, read.language, sender.name, None)
        elif read.letters:
            letters = [one.sign for one in read.letters]
            self._service.tell(read.session_id, self._service.spelled(read.session_id, letters))
