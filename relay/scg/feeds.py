"""What a relay hears of a session from other relays, as the service sees it; and the feed of a relay that is alone."""

from __future__ import annotations

from typing import Protocol

from core.contracts import scg
from relay.scg.live import Live


class Feed(Protocol):
    """Every call but `watch` returns at once. A relay that is told nothing knows nothing: `watch` comes first."""

    def shows(self, source: str) -> bool:
        """Whether batches from there are shown as they are taken. In a cluster a kit's come by the feed instead."""
        ...

    async def watch(self, live: Live) -> None:
        """Somebody is about to enter: hear of this session from now on, and have its last seconds."""
        ...

    def unwatch(self, live: Live) -> None: ...
    def share(self, live: Live, envelope: scg.Envelope) -> None:
        """A browser's batch was taken here."""
        ...

    def present(self, live: Live) -> None:
        """Who is in the room here has changed."""
        ...

    def changed(self, live: Live) -> None:
        """The session's row has changed, and is committed."""
        ...


class Alone:
    """One relay: it takes all that it shows."""

    def shows(self, source: str) -> bool:
        return True

    async def watch(self, live: Live) -> None:
        return

    def unwatch(self, live: Live) -> None:
        return

    def share(self, live: Live, envelope: scg.Envelope) -> None:
        return

    def present(self, live: Live) -> None:
        return

    def changed(self, live: Live) -> None:
        return
