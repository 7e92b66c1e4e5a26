"""Viewers' sessions, from offer to last packet, by id. Does not know where the video comes from.

A session that failed, closed or went silent is forgotten within seconds; a viewer who loses the right to watch is
disconnected at once.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from relay.errors import Full, RelayError, SessionNotFound
from relay.process.metrics import Metrics
from relay.video.endings import Endings
from relay.video.peers import Network, Viewer, answer_viewer
from relay.video.publication import Publication

CONNECT_WITHIN_S = 20.0
SILENT_S = 20.0
"""Seconds without a report after which a viewer counts as gone."""

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Watching:
    """A viewer's session."""

    id: str
    viewer: Viewer
    subject: str
    began_s: float
    forget: Callable[[Watching], None]
    bound: str | None = None
    """The only heart session whose camera this viewer's link may show; None if not restricted."""

    def end(self, code: int, reason: str = "") -> None:
        """Disconnect this viewer: they may no longer watch."""
        log.info("video_watched_no_more", session=self.id, code=code, reason=reason)
        self.forget(self)

    def states(self) -> dict[str, str]:
        """The connection states, as the five keys of the document."""
        peer = self.viewer.peer
        ice = peer.iceConnectionState
        return {
            "session_id": self.id,
            "connection_state": peer.connectionState,
            "ice_connection_state": "connected" if ice == "completed" else ice,
            "ice_gathering_state": peer.iceGatheringState,
            "signaling_state": peer.signalingState,
        }


class Viewers:
    """At most `most` viewers; `raw` forwards packets unchanged instead of frame by frame."""

    def __init__(self, network: Network, metrics: Metrics, endings: Endings, *, most: int, raw: bool) -> None:
        self._network, self._metrics, self._endings = network, metrics, endings
        self._most, self._raw = most, raw
        self._watching: dict[str, Watching] = {}
        self.answering = 0
        """Offers being answered now: the publications they ask for must not be stopped."""

    async def watch(
        self, sdp: str, publication: Publication, subject: str, bound: str | None = None
    ) -> tuple[str, str]:
        """Start a viewer's session. Returns its id and the SDP answer. Raises BadOffer, or Full if there are too many
        viewers.

        `bound` is the only heart session whose camera this viewer may see.
        """
        if len(self._watching) + self.answering >= self._most:
            raise Full("This relay shows video to as many viewers as it may; try again later")
        began = time.monotonic()
        self.answering += 1
        try:
            viewer, answer = await answer_viewer(sdp, publication, self._network, self._metrics, raw=self._raw)
        except RelayError:
            self._metrics.video_offers.labels("refused").inc()
            raise
        finally:
            self.answering -= 1
        session = str(uuid.uuid4())
        began_s = asyncio.get_running_loop().time()
        watching = Watching(session, viewer, subject, began_s, self.let_out, bound)
        self._watching[session] = watching
        self._metrics.video_viewers.set(len(self._watching))
        self._metrics.video_offers.labels("answered").inc()
        self._metrics.video_answer_seconds.observe(time.monotonic() - began)
        viewer.peer.on("connectionstatechange", lambda: self._state_changed(watching))
        log.info("video_watched", session=session, source=publication.name, subject=subject)
        return session, answer

    def sessions(self, subject: str | None = None) -> list[str]:
        """Ids of all viewers' sessions, or of one subject's."""
        return [one.id for one in self._watching.values() if subject is None or one.subject == subject]

    def session(self, session: str) -> Watching:
        """The viewer's session with this id. Raises SessionNotFound."""
        found = self._watching.get(session)
        if found is None:
            raise SessionNotFound(f"Session {session} not found")
        return found

    async def end(self, session: str) -> int:
        """End a viewer's session; returns how many remain."""
        found = self.session(session)
        self._forget(found)
        await found.viewer.end()
        return len(self._watching)

    def of(self, publication: Publication) -> list[Watching]:
        return [one for one in self._watching.values() if one.viewer.publication is publication]

    def sweep(self, now_s: float) -> None:
        """End the sessions that failed, closed, or went silent."""
        for watching in list(self._watching.values()):
            state = watching.viewer.peer.connectionState
            late = state in ("new", "connecting") and now_s - watching.began_s > CONNECT_WITHIN_S
            silent = state == "connected" and now_s - max(watching.viewer.leg.heard_s, watching.began_s) > SILENT_S
            if late or silent or state in ("failed", "closed"):
                self.let_out(watching)

    def let_out(self, watching: Watching) -> None:
        self._forget(watching)
        self._endings.soon(watching.viewer)

    async def end_all(self) -> None:
        watching, self._watching = self._watching, {}
        await asyncio.gather(*(one.viewer.end() for one in watching.values()), return_exceptions=True)

    def _state_changed(self, watching: Watching) -> None:
        if watching.viewer.peer.connectionState in ("failed", "closed"):
            self.let_out(watching)

    def _forget(self, watching: Watching) -> None:
        if self._watching.pop(watching.id, None) is not None:
            leg = watching.viewer.leg
            self._metrics.video_packets.labels("out").inc(leg.sent)
            self._metrics.video_viewers.set(len(self._watching))
            log.info("video_left", session=watching.id, packets=leg.sent, repaired=leg.repaired, skipped=leg.skipped)
