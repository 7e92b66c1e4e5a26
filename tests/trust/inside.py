"""The broker inside, started as the relay starts it but with an ear of the test's own in the relay's place."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from relay.auth import Tokens
from relay.bus.broker import EmbeddedBroker
from relay.bus.gate import RELAY_USER, Gate
from relay.clock import SystemClock
from relay.entrance.certificates import kits_context
from relay.entrance.standing import Ended, Standing
from relay.identity.authority import own_authority
from tests.peers import free_port
from tests.trust.attackers import Client


class Inside:
    """With the authority and the server certificate of the relay in `data`."""

    def __init__(self, data: Path) -> None:
        self.port = free_port()
        self.standing = Standing()
        self._certificate, self._key = data / "tls" / "certificate.pem", data / "tls" / "key.pem"
        self._authority = own_authority(data / "authority", datetime.now(UTC))
        self._gate = Gate(Tokens(b"0" * 32), SystemClock(), self.standing, open=False)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.ear: Client

    def __enter__(self) -> Self:
        self._thread.start()
        self._broker = self._run(self._start())
        self.ear = Client(self.port, login=(RELAY_USER, self._gate.relay_password), ca=self._certificate)
        assert self.ear.admitted()
        assert self.ear.subscribe("homeside/v1/#")
        return self

    async def _start(self) -> EmbeddedBroker:
        tls = kits_context(self._certificate, self._key, self._authority), self._certificate
        broker = EmbeddedBroker("127.0.0.1", self.port, self._gate, tls)
        await broker.start()
        return broker

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    @property
    def heard(self) -> list[tuple[str, bytes]]:
        return self.ear.got

    def down(self, topic: str, body: bytes) -> None:
        self.ear.publish(topic, body)

    def revoke(self, *kits: str) -> None:
        self._loop.call_soon_threadsafe(self.standing.update, Ended(kits=frozenset(kits)))

    def __exit__(self, *_: object) -> None:
        self.ear.close()
        self._run(self._broker.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
