"""Keeps a separate broker informed of which kits are trusted: rewrites its lists, has it reload them, and disconnects
revoked kits.

The folder of the broker's files is a setting, and so is its process id file, for a relay that may signal it. Without
that, whoever runs the broker must have it reload when the files change (for example with a systemd path unit).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiomqtt
import structlog

from relay.bus.mqtt import Address
from relay.entrance.standing import Standing
from relay.files import write_whole
from relay.identity import brokers

ANEW_AFTER_S = 12 * 3600.0
"""Seconds after which the lists are rewritten in any case: once a revocation list expires, mosquitto refuses
everybody.
"""
LOOK_EVERY_S = 2.0
READ_WITHIN_S = 0.5
"""Seconds a broker gets to read its lists after SIGHUP."""
SEND_OFF_WITHIN_S = 3.0

log = structlog.get_logger(__name__)


class BrokerFiles:
    """The files in `folder` that change: a CRL for mosquitto, users for NATS. `run` never returns."""

    def __init__(
        self,
        folder: Path,
        pid_file: Path | None,
        standing: Standing,
        address: Address,
        revocations: Callable[[], Awaitable[bytes]],
        trusted_kits: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._folder = folder
        self._pid_file = pid_file
        self._standing = standing
        self._address = address
        self._revocations = revocations
        self._trusted_kits = trusted_kits
        self._changed = asyncio.Event()
        self._gone: frozenset[str] = frozenset()
        self._written: list[str] | None = None
        standing.listen(self._changed.set)

    async def run(self) -> None:
        """Keep the files up to date, never returning. NATS must also learn of new kits; nothing announces these, so
        they are polled.
        """
        loop = asyncio.get_running_loop()
        anew_s = loop.time()
        while True:
            due = self._changed.is_set() or loop.time() >= anew_s
            self._changed.clear()
            users = await self._users()
            if due or users != self._written:
                await self._tell(users)
                anew_s = loop.time() + ANEW_AFTER_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()

    async def _users(self) -> list[str] | None:
        """The kits that NATS is to know; None for a broker that identifies them by certificate."""
        if not (self._folder / brokers.NATS_KITS).exists():
            return None
        return [kit for kit in await self._trusted_kits() if brokers.nats_can_name(kit)]

    async def _tell(self, users: list[str] | None) -> None:
        gone = self._standing.kits
        write_whole(self._folder / brokers.CRL, await self._revocations(), 0o644)
        if users is not None:
            secret = (self._folder / brokers.NATS_SECRET).read_text()
            write_whole(self._folder / brokers.NATS_KITS, brokers.nats_kits(secret, users).encode(), 0o600)
        self._signal()
        if users is None and gone - self._gone:
            await self._send_off_all(gone - self._gone)
        self._gone, self._written = gone, users

    async def _send_off_all(self, kits: frozenset[str]) -> None:
        """Disconnect these kits, twice: the broker reads its lists a moment after the signal, and a kit may reconnect
        before that.
        """
        for _ in range(2):
            await asyncio.sleep(READ_WITHIN_S)
            await asyncio.gather(*(self._send_off(kit) for kit in kits))

    def _signal(self) -> None:
        if self._pid_file is None:
            return
        try:
            os.kill(int(self._pid_file.read_text().strip()), signal.SIGHUP)
        except (OSError, ValueError) as error:
            log.error("broker_not_told", pid_file=str(self._pid_file), reason=str(error))

    async def _send_off(self, kit: str) -> None:
        """Disconnect a kit by connecting with its client id: the broker then drops the first connection
        (MQTT-3.1.4-2).
        """
        where = self._address
        client = aiomqtt.Client(
            where.host, where.port, username=where.username, password=where.password, identifier=kit
        )
        try:
            async with asyncio.timeout(SEND_OFF_WITHIN_S), client:
                log.warning("kit_dropped", kit=kit, reason="revoked")
        except (aiomqtt.MqttError, OSError, TimeoutError) as error:
            log.error("kit_not_dropped", kit=kit, reason=str(error))
