"""Who is in a session's rooms on all relays: each relay announces its own room to the others.

Announcements may be lost, so they are repeated while somebody watches, and a kit not heard for a while stops being the
patient.
"""

from __future__ import annotations

import asyncio

import msgspec

from relay.cluster import subjects
from relay.cluster.link import Link
from relay.scg.live import Live
from relay.scg.rules import Elsewhere

SILENT_S = 15.0
TOLD_EVERY_S = 5.0
"""How often a room's state is repeated: a message may be lost, as when the other relay has only just subscribed."""


class Said(msgspec.Struct):
    """The state of a relay's room of a session, as sent to the other relays."""

    relay: str
    viewers: int
    patient: bool
    boot: str | None = None
    ask: bool = False


def tell(link: Link, live: Live, *, ask: bool = False) -> None:
    """Announce this relay's room; with `ask`, the others answer with theirs."""
    presence = live.presence
    browser = presence.patient is not None and live.session.kit is None
    said = Said(link.name, presence.viewers_here, browser, presence.boot if browser else None, ask)
    link.say(subjects.live(live.session.id, "presence"), msgspec.json.encode(said))


class Attendance:
    """Attendance of one session that is watched on this relay, until `end`."""

    def __init__(self, link: Link, live: Live) -> None:
        self._link = link
        self._live = live
        self._again: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._ended = False

    def tell_again(self) -> None:
        """Announce the room now, and every TOLD_EVERY_S."""
        if not self._ended:
            tell(self._link, self._live)
            self._again = asyncio.get_running_loop().call_later(TOLD_EVERY_S, self.tell_again)

    def heard(self, data: bytes) -> None:
        """Another relay's announcement of its room."""
        said = msgspec.json.decode(data, type=Said)
        self._announce(said.relay, Elsewhere(said.viewers, said.patient, said.boot))
        if said.ask:
            tell(self._link, self._live)

    def gone(self, relay: str) -> None:
        """That relay is gone, and with it everybody in its room; they will reconnect to another."""
        self._announce(relay, None)

    def _announce(self, relay: str, room: Elsewhere | None) -> None:
        for status in self._live.presence.heard(relay, room):
            self._live.announce(status)

    def kit_measures(self) -> None:
        """A message of the kit was heard: it is the patient until it is silent for SILENT_S or says that it goes."""
        if self._silence is not None:
            self._silence.cancel()
        self._silence = asyncio.get_running_loop().call_later(SILENT_S, self.kit_silent)
        if self._live.presence.patient is None:
            self._live.presence.seat(self)
            self._live.announce("patient_connected")

    def kit_silent(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None
        if self._live.presence.patient is self:
            self._live.presence.patient = None
            self._live.announce("patient_disconnected")

    def end(self) -> None:
        """Nobody watches here any more: stop the timers and forget the other rooms, without announcing anything."""
        self._ended = True
        if self._again is not None:
            self._again.cancel()
        if self._silence is not None:
            self._silence.cancel()
            self._live.presence.patient = None
        self._live.presence.elsewhere.clear()
