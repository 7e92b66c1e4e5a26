"""The interface to the kits: takes their `pose_frames` messages and passes each to the session it names."""

from __future__ import annotations

import uuid

from core.contracts import scg
from core.contracts.errors import InvalidMessage
from relay.bus.switchboard import KitSender, acknowledge
from relay.physio.live import rules
from relay.physio.live.service import LiveService

TYPES = ("pose_frames",)


class FramesGateway:
    """`take` is the switchboard's handler."""

    def __init__(self, service: LiveService) -> None:
        self._service = service

    async def take(self, sender: KitSender, envelope: scg.Envelope, *, present: bool) -> None:
        data = rules.decode(envelope.payload)
        try:
            session = str(uuid.UUID(data.session_id))
        except ValueError:
            raise InvalidMessage("Expected a UUID - at `$.sessionId`") from None
        await self._service.take(sender.name, data, session, acknowledge(sender, envelope), present=present)
