"""The bus on NATS JetStream. Kits speak MQTT to NATS, which first writes their messages to a replicated stream.

Each partition of kits is a durable pull consumer pulled by one relay at a time, so a kit's messages keep their order.
A message leaves the stream after its commit; those of a relay that died are delivered again, and stored once.
"""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ClusterInfo, ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from relay.bus.mqtt import Receive
from relay.cluster import subjects
from relay.cluster.link import Link
from relay.cluster.members import Members
from relay.process.metrics import Metrics

FETCH = 256
FETCH_WITHIN_S = 0.5
AGAIN_AFTER_S = [3.0, 10.0, 30.0]
"""A message taken but not acknowledged is delivered again after these pauses; the last one repeats."""
FOR_EVER = 10_000_000
"""Delivery attempts; at 30 s each, nine years. The server does not accept -1 (unlimited) together with a backoff."""
PENDING = 200
PENDING_WITHIN_S = 0.5
UNDONE = 20_000
"""Messages of a partition that may be taken and not yet committed; the rest stays in the stream."""
LOOK_EVERY_S = 1.0
HEARD_WITHIN_S = 5.0
"""A replica that the stream's leader has not heard of for longer counts as away; normally it hears once a second."""
PAUSE_S = 0.1

log = structlog.get_logger(__name__)


def has_majority(cluster: ClusterInfo | None) -> bool:
    """Whether the stream's leader and the replicas it lately heard of are more than half of all.

    A leader that is cut off still answers for a while; `active` tells how long ago it heard of each replica, in ns.
    """
    copies = cluster.replicas or [] if cluster else []
    heard = sum(not copy.offline and (copy.active or 0) < HEARD_WITHIN_S * 1e9 for copy in copies)
    return 2 * (1 + heard) > 1 + len(copies)


class Turns(Protocol):
    def rank(self, key: str) -> int: ...


class NatsBus:
    """`publish` sends to kits; `run` hands over what kits send, with the callback to call once it is committed."""

    def __init__(
        self, link: Link, members: Members, metrics: Metrics, *, replicas: int, partitions: int, stream_bytes: int
    ) -> None:
        self._link = link
        self._turns: Turns = members
        self._metrics = metrics
        self._replicas = replicas
        self._bytes = stream_bytes
        self._partitions = partitions
        self.connected = asyncio.Event()

    def publish(self, topic: str, payload: bytes) -> None:
        self._link.say(subjects.from_topic(topic), payload)

    async def run(self, receive: Receive) -> None:
        await self._link.connected.wait()
        await self._prepare()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            for part in range(self._partitions):
                group.create_task(self._pull(part, receive))

    async def _prepare(self) -> None:
        """Create the stream and its consumers if they do not exist; retried until the NATS servers have a leader."""
        delay = PAUSE_S
        while True:
            try:
                await self._make()
            except (NatsError, TimeoutError, OSError) as error:
                log.warning("stream_not_ready", error=str(error) or type(error).__name__, retry_s=round(delay, 1))
                await asyncio.sleep(delay * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
                delay = min(delay * 2, 2.0)
                continue
            self._ready(ready=True)
            return

    async def _make(self) -> None:
        stream = self._link.stream
        try:
            await stream.stream_info(subjects.STREAM)
        except NotFoundError:
            await stream.add_stream(
                StreamConfig(
                    name=subjects.STREAM,
                    subjects=[f"{subjects.INGEST}.>"],
                    retention=RetentionPolicy.WORK_QUEUE,
                    discard=DiscardPolicy.OLD,
                    max_bytes=self._bytes,
                    num_replicas=self._replicas,
                )
            )
        for part in range(self._partitions):
            await stream.add_consumer(
                subjects.STREAM,
                ConsumerConfig(
                    durable_name=f"part-{part}",
                    filter_subject=f"{subjects.INGEST}.{part}.>",
                    ack_policy=AckPolicy.EXPLICIT,
                    backoff=AGAIN_AFTER_S,
                    max_deliver=FOR_EVER,
                    max_ack_pending=UNDONE,
                ),
            )

    async def _look(self) -> None:
        """Check whether the stream has a majority, as /readyz reports: a relay on the minority side is not ready."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                info = await self._link.stream.stream_info(subjects.STREAM)
            except (NatsError, TimeoutError, OSError):
                self._ready(ready=False)
            else:
                self._ready(ready=self._link.connected.is_set() and has_majority(info.cluster))
                self._metrics.stream_messages.set(info.state.messages)

    def _ready(self, *, ready: bool) -> None:
        self._metrics.bus_connected.set(int(ready))
        if ready and not self.connected.is_set():
            self.connected.set()
            log.info("bus_connected", stream=subjects.STREAM, partitions=self._partitions)
        elif not ready and self.connected.is_set():
            self.connected.clear()
            log.warning("stream_does_not_answer", remedy="a majority of the NATS servers must be there")

    async def pending(self, subject: str) -> list[bytes]:
        """The uncommitted messages of a subject, oldest first; at most PENDING, and only what is read in time."""
        found: list[bytes] = []
        stream, number = self._link.client.jetstream(timeout=PENDING_WITHIN_S), 0
        try:
            while len(found) < PENDING:
                message = await stream.get_msg(subjects.STREAM, seq=number + 1, subject=subject, next=True)
                number = message.seq or 0
                found.append(message.data or b"")
        except (NatsError, TimeoutError):
            return found
        return found

    # -- taking ----------------------------------------------------------------------------------------------------

    async def _pull(self, part: int, receive: Receive) -> None:
        """Pull one partition while this relay is first in line for it."""
        puller: JetStreamContext.PullSubscription | None = None
        while True:
            if self._turns.rank(f"part-{part}") or not self._link.connected.is_set():
                await asyncio.sleep(PAUSE_S)
                continue
            try:
                if puller is None:
                    puller = await self._link.stream.pull_subscribe_bind(f"part-{part}", subjects.STREAM)
                taken = await puller.fetch(FETCH, timeout=FETCH_WITHIN_S)
            except TimeoutError:
                continue
            except (NatsError, OSError) as error:
                log.debug("pull_failed", part=part, error=str(error) or type(error).__name__)
                await asyncio.sleep(PAUSE_S * (1 + random.random()))  # noqa: S311 - jitter, not a secret
                continue
            for message in taken:
                await self._take(message, receive)

    async def _take(self, message: Msg, receive: Receive) -> None:
        found = subjects.parse_ingest(message.subject)
        if found is None:
            self._settle(message)
            return
        await receive(found.topic.kit, found.topic.lane, message.data, lambda: self._settle(message))

    def _settle(self, message: Msg) -> None:
        self._link.say(message.reply, b"+ACK")
