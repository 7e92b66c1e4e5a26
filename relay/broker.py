"""The broker inside the relay, so that one box needs nothing installed: amqtt, MQTT 3.1.1.

On loopback it is open. Beyond it a kit shows its token as password, under its own name, and reaches its own topics
only; the relay itself comes in by a password made anew at every start.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from amqtt.broker import Broker
from amqtt.contexts import Action, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from core.contracts import topics
from relay.auth import Role, Tokens
from relay.bus import Address
from relay.clock import Clock
from relay.errors import PortBusy, Unauthorized

RELAY_USER = "relay"
_MODULE = __name__

log = structlog.get_logger(__name__)


@dataclass
class Gate:
    """What the broker's plugins ask: whose password holds."""

    tokens: Tokens
    clock: Clock
    relay_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    open: bool = True

    def admits(self, username: str | None, password: str | None) -> bool:
        if username == RELAY_USER:
            return secrets.compare_digest((password or "").encode(), self.relay_password.encode())
        if self.open:
            return True
        try:
            who = self.tokens.read(password or "", now_s=self.clock.now_ms() / 1000)
        except Unauthorized:
            return False
        return who.role is Role.KIT and who.subject == username

    def reaches(self, username: str | None, topic: str, action: Action) -> bool:
        """A kit writes its own lanes up and reads its own lanes down; the relay does all; loopback is trusted."""
        if username == RELAY_USER or self.open:
            return True
        found = topics.parse(topic)
        if found is None or found.kit != username:
            return False
        lanes = topics.FROM_KITS if action is Action.PUBLISH else topics.TO_KITS
        return found.lane in lanes


class KitAuthentication(BaseAuthPlugin):  # type: ignore[misc]
    """Asks the gate at every CONNECT."""

    @dataclass
    class Config:
        gate: Any = None

    async def authenticate(self, *, session: Session) -> bool:
        gate: Gate = self.config.gate
        admitted = gate.admits(session.username, session.password)
        if not admitted:
            log.warning("kit_refused", kit=(session.username or "")[:64], reason="token")
        return admitted


class KitTopics(BaseTopicPlugin):  # type: ignore[misc]
    """Asks the gate at every SUBSCRIBE and PUBLISH."""

    @dataclass
    class Config:
        gate: Any = None

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        gate: Gate = self.config.gate
        if session is None or topic is None or action is None or action is Action.RECEIVE:
            return True
        return gate.reaches(session.username, topic, action)


class EmbeddedBroker:
    """amqtt on one port. `start` raises PortBusy when another program has it."""

    def __init__(self, host: str, port: int, gate: Gate, certificate: tuple[Path, Path] | None = None) -> None:
        self._host = host
        self._certificate = certificate
        self._port = port or _free_port(host)
        self._gate = gate
        self._broker: Broker | None = None

    @property
    def address(self) -> Address:
        """How the relay itself reaches it."""
        host = "127.0.0.1" if self._host in ("", "0.0.0.0", "::") else self._host  # noqa: S104 - a comparison
        return Address(
            host=host,
            port=self._port,
            username=RELAY_USER,
            password=self._gate.relay_password,
            tls=self._certificate is not None,
            trusted=self._certificate[0] if self._certificate else None,
        )

    def _listener(self) -> ListenerConfig:
        bind = f"{self._host}:{self._port}"
        if self._certificate is None:
            if not self._gate.open:
                log.warning("kits_tokens_in_clear", host=self._host, remedy="set tls = true in [mqtt]")
            return ListenerConfig(bind=bind)
        certificate, key = self._certificate
        return ListenerConfig(bind=bind, ssl=True, certfile=certificate, keyfile=key)

    async def start(self) -> None:
        plugins = {f"{_MODULE}.{plugin.__name__}": {"gate": self._gate} for plugin in (KitAuthentication, KitTopics)}
        config = BrokerConfig(listeners={"default": self._listener()}, plugins=plugins)
        self._broker = Broker(config)
        try:
            await self._broker.start()
        except (AMQTTError, OSError) as error:
            raise PortBusy(
                f"port {self._port} for kits (MQTT) cannot be had: {error}. "
                "End the program that has it, choose another with --mqtt-port, or name that broker in mqtt.url."
            ) from error
        log.info("broker_started", host=self._host, port=self._port, open=self._gate.open)

    async def stop(self) -> None:
        if self._broker is not None:
            await self._broker.shutdown()
            self._broker = None


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host or "127.0.0.1", 0))
        return int(probe.getsockname()[1])
