"""Who is in a session's rooms on all relays: each says what its own room holds, and words may be lost.

So what is said is said again while somebody watches, and a kit that is no longer heard is not the patient for ever.
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
"""Who is in a room is said again so often: a word may be lost, as when the other relay has only just begun to hear."""


class Said(msgspec.Struct):
    """A relay's room of a session, to the other relays."""

    relay: str
    viewers: int
    patient: bool
    boot: str | None = None
    ask: bool = False


def tell(link: Link, live: Live, *, ask: bool = False) -> None:
    """Who is in the room here; with `ask`, the others say so of theirs."""
    presence = live.presence
    browser = presence.patient is not None and live.session.kit is None
    said = Said(link.name, presence.viewers_here, browser, presence.boot if browser else None, ask)
    link.say(subjects.live(live.session.id, "presence"), msgspec.json.encode(said))


class Attendance:
    """Of one session that somebody watches here, until `end`."""

    def __init__(self, link: Link, live: Live) -> None:
        self._link = link
        self._live = live
        self._again: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._ended = False

    def tell_again(self) -> None:
        """Now, and every TOLD_EVERY_S."""
        if not self._ended:
            tell(self._link, self._live)
            self._again = asyncio.get_running_loop().call_later(TOLD_EVERY_S, self.tell_again)

    def heard(self, data: bytes) -> None:
        """What another relay says of its room."""
        said = msgspec.json.decode(data, type=Said)
        self._announce(said.relay, Elsewhere(said.viewers, said.patient, said.boot))
        if said.ask:
            tell(self._link, self._live)

    def gone(self, relay: str) -> None:
        """That relay went, and everybody in its room with it; they will come back on another."""
        self._announce(relay, None)

    def _announce(self, relay: str, room: Elsewhere | None) -> None:
        for status in self._live.presence.heard(relay, room):
            self._live.announce(status)

    def kit_measures(self) -> None:
        """The kit is heard: it is the patient until it is silent for long, or says that it goes."""
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
        """Nobody watches here any more: what was heard is forgotten, and nobody is told."""
        self._ended = True
        if self._again is not None:
            self._again.cancel()
        if self._silence is not None:
            self._silence.cancel()
            self._live.presence.patient = None
        self._live.presence.elsewhere.clear()
