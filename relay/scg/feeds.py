"""Exchange of live sessions between relays, as the service sees it, and its implementation for a single relay."""

from __future__ import annotations

from typing import Protocol

from core.contracts import scg
from relay.scg.live import Live


class Feed(Protocol):
    """Every call except `watch` returns at once. A relay receives nothing about a session until it calls `watch`."""

    def shows(self, source: str) -> bool:
        """Whether a batch of this source is shown when taken in.

        In a cluster, a kit's batches come by the feed instead.
        """
        ...

    async def watch(self, live: Live) -> None:
        """Called before somebody enters: receive this session from now on, and load its last seconds."""
        ...

    def unwatch(self, live: Live) -> None: ...
    def share(self, live: Live, envelope: scg.Envelope) -> None:
        """A browser's batch was taken in here: pass it to the other relays."""
        ...

    def present(self, live: Live) -> None:
        """The people in the room here have changed: tell the other relays."""
        ...

    def changed(self, live: Live) -> None:
        """The session's row has changed, and the change is committed."""
        ...


class Alone:
    """A single relay: everything it shows, it took in itself."""

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
