"""Timer sessions between relays, over NATS: state messages and rank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from relay.cluster import subjects
from relay.cluster.link import Link
from relay.cluster.members import Members


class TimerPeers:
    """The body of relay.timers.shared.service.Peers."""

    def __init__(self, link: Link, members: Members) -> None:
        self._link = link
        self._members = members
        self._tasks: set[asyncio.Task[None]] = set()

    def rank(self, session_id: str) -> int:
        return self._members.rank(session_id)

    def tell(self, session_id: str, message: bytes) -> None:
        self._link.say(subjects.timer(session_id), message)

    async def listen(self, session_id: str, heard: Callable[[bytes], None]) -> Callable[[], None]:
        async def take(message: Msg) -> None:
            heard(message.data)

        subscription = await self._link.hear(subjects.timer(session_id), take)

        async def stop() -> None:
            try:
                await subscription.unsubscribe()
            except NatsError:
                return

        def end() -> None:
            task = asyncio.ensure_future(stop())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return end
