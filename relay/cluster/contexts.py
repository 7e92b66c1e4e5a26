"""The past of signing sessions, shared by the relays of a cluster in a JetStream stream that is kept in memory.

Each exchange is a message of its own, so that two relays never overwrite each other's. (Replacing one entry on
condition of its revision is not as safe: NATS 2.9 accepts two concurrent replacements of a replicated key.)
While the stream does not answer, a relay uses what it heard itself, so that everybody still gets an answer.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from relay.cluster import subjects
from relay.cluster.link import Link
from relay.signs.translation.pasts import HISTORY, Conversation, Memory

LASTS_S = 12 * 3600.0
"""An exchange is forgotten this long after it was added."""
MOST_BYTES = 64 << 20
WITHIN_S = 3.0
IDLE_S = 5.0

log = structlog.get_logger(__name__)


class _Said(msgspec.Struct):
    owner: str | None
    signs: list[str]
    text: str


class SharedPasts:
    """Implements relay.signs.translation.pasts.Pasts in a cluster."""

    def __init__(self, link: Link, own: Memory, replicas: int) -> None:
        self._link, self._own, self._replicas = link, own, replicas
        self._made = False

    async def find(self, session_id: str) -> Conversation | None:
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._make()
                said = [msgspec.json.decode(one.data, type=_Said) for one in await self._read(session_id)]
        except (NatsError, TimeoutError) as error:
            _missed(error)
            return await self._own.find(session_id)
        if not said:
            return None
        found = Conversation(said[0].owner)
        found.past.extend((one.signs, one.text) for one in said if one.owner == found.owner)
        return found

    async def add(self, session_id: str, owner: str | None, signs: list[str], text: str) -> None:
        await self._own.add(session_id, owner, signs, text)
        data = msgspec.json.encode(_Said(owner, signs, text))
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._make()
                await self._link.stream.publish(subjects.signs(session_hash(session_id)), data)
        except (NatsError, TimeoutError) as error:
            _missed(error)

    async def forget(self, session_id: str) -> None:
        await self._own.forget(session_id)
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._make()
                subject = subjects.signs(session_hash(session_id))
                await self._link.stream.purge_stream(subjects.SIGNS, subject=subject)
        except (NatsError, TimeoutError) as error:
            _missed(error)

    async def _read(self, session_id: str) -> list[Msg]:
        """All messages of a session, read by a temporary consumer."""
        subject, stream = subjects.signs(session_hash(session_id)), self._link.stream
        wanted = ConsumerConfig(
            filter_subject=subject,
            ack_policy=AckPolicy.NONE,
            deliver_policy=DeliverPolicy.ALL,
            inactive_threshold=IDLE_S,
            mem_storage=True,
        )
        puller = await stream.pull_subscribe(subject, stream=subjects.SIGNS, config=wanted)
        waiting = (await puller.consumer_info()).num_pending or 0
        try:
            return await puller.fetch(waiting, timeout=WITHIN_S) if waiting else []
        finally:
            await puller.unsubscribe()

    async def _make(self) -> None:
        """Create the stream if it does not exist."""
        if self._made:
            return
        stream = self._link.stream
        try:
            await stream.stream_info(subjects.SIGNS)
        except NotFoundError:
            await stream.add_stream(
                StreamConfig(
                    name=subjects.SIGNS,
                    subjects=[subjects.signs("*")],
                    storage=StorageType.MEMORY,
                    num_replicas=self._replicas,
                    max_age=LASTS_S,
                    max_bytes=MOST_BYTES,
                    max_msgs_per_subject=HISTORY,
                    discard=DiscardPolicy.OLD,
                )
            )
        self._made = True


def session_hash(session_id: str) -> str:
    """A session's id may be any text; its hash is valid as a token of a NATS subject."""
    return sha256(session_id.encode()).hexdigest()[:32]


def _missed(error: Exception) -> None:
    log.warning("contexts_not_shared", error=str(error) or type(error).__name__)
