"""`homeside relay --cluster`: three NATS servers, three relays and a PostgreSQL on this machine, to try a cluster.

A program that is killed is started again. Everything listens on loopback; the database is temporary.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from relay.auth import load_secret
from relay.cluster.nodes import Node, configuration
from relay.cluster.programs import Program, Works, find, make, make_postgres
from relay.cluster.subjects import PARTITIONS
from relay.errors import RelayError
from relay.identity.authority import own_authority

HOST = "127.0.0.1"
RELAYS = NODES = 3
STEP = 10
"""How much higher each relay's ports are than those of the one before."""
READY_WITHIN_S = 90.0
REFUSED = (OSError, http.client.HTTPException)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """The ports on which one relay answers."""

    scg: int
    care: int
    signs: int
    translate: int
    tls: int


class Trial:
    """`run` starts everything, logs the addresses, and stops everything when told to."""

    def __init__(self, folder: Path, *, port: int = 8000, care_port: int = 3000, mqtt_port: int = 1883) -> None:
        self.folder = folder
        self.relays = [_addresses(number, port, care_port) for number in range(RELAYS)]
        self.nodes = [_node(number, mqtt_port) for number in range(NODES)]
        self.programs: list[Program] = []
        self._postgres = Path(tempfile.gettempdir())
        self._stop = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._postgres = Path(tempfile.mkdtemp(prefix="homeside-trial-"))
        try:
            self._prepare()
            await self._keep()
        finally:
            shutil.rmtree(self._postgres, ignore_errors=True)

    def _prepare(self) -> None:
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        server = find("nats-server", "nats-server")
        database = make_postgres(self._postgres, free_port(), logs / "postgres.log")
        port = database.command[database.command.index("-p") + 1]
        self.programs = [database]
        for node in self.nodes:
            written = self.folder / f"{node.name}.conf"
            others = [f"{HOST}:{other.route}" for other in self.nodes if other is not node]
            written.write_text(configuration(node, others, self.folder / node.name, PARTITIONS))
            self.programs.append(
                make(node.name, [server, "-c", str(written)], logs / f"{node.name}.log", _listens(node.mqtt))
            )
        for number, where in enumerate(self.relays, 1):
            self.programs.append(self._relay(number, where, f"postgresql://homeside@{HOST}:{port}/postgres", logs))

    def _relay(self, number: int, where: Addresses, database: str, logs: Path) -> Program:
        """A relay with a folder of its own, into which the secrets that all relays share are copied."""
        name, folder = f"relay-{number}", self.folder / f"relay-{number}"
        folder.mkdir(exist_ok=True, mode=0o700)
        for secret in ("secret", "encryption.key"):
            load_secret(self.folder / secret)
            shutil.copy2(self.folder / secret, folder / secret)
        own_authority(self.folder / "authority", datetime.now(UTC))
        shutil.copytree(self.folder / "authority", folder / "authority", dirs_exist_ok=True)
        nodes = ",".join(f"{HOST}:{node.client}" for node in self.nodes)
        written = self.folder / f"{name}.toml"
        written.write_text(
            f'data = "{folder}"\ndatabase_url = "{database}"\n\n[ports]\nscg = {where.scg}\n'
            f"care = {where.care}\nsigns = {where.signs}\ntranslate = {where.translate}\n\n"
            f'[tls]\nenabled = true\nhost = "{HOST}"\nport = {where.tls}\n\n'
            f'[mqtt]\nurl = "nats://{nodes}"\n\n[identity]\nbroker_url = "mqtt://{HOST}:{self.nodes[0].mqtt}"\n\n'
            f'[cluster]\nname = "{name}"\nstream_mb = 1024\n'
        )
        command = [sys.executable, "-m", "homeside", "relay", "--config", str(written)]
        return make(name, command, logs / f"{name}.log", _answers(where.scg))

    async def _keep(self) -> None:
        """Start the database and NATS first, for a relay does not start without them; stop in the opposite order."""
        running: list[asyncio.Task[Any]] = []
        stopping = asyncio.create_task(self._stop.wait())
        try:
            for group in (self.programs[: 1 + NODES], self.programs[1 + NODES :]):
                running += [asyncio.create_task(program.run()) for program in group]
                if not await self._ready(group, [stopping, *running]):
                    return
            self._tell()
            await stopping
        finally:
            stopping.cancel()
            for ending in (running[1 + NODES :], running[: 1 + NODES]):
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)

    async def _ready(self, group: list[Program], ending: list[asyncio.Task[Any]]) -> bool:
        """True when all work; False when one gave up, the time is over, or the trial is to stop."""
        ready = asyncio.create_task(_all(group))
        await asyncio.wait([ready, *ending], timeout=READY_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        for task in ending:
            if task.done() and not task.cancelled() and task.exception():
                raise RelayError(f"a program of the cluster could not be started: {task.exception()}")
        if not ready.done():
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
            log.error("cluster_not_ready", logs=str(self.folder / "logs"))
            return False
        return True

    def _tell(self) -> None:
        log.info(
            "cluster_ready",
            relays=[f"http://{HOST}:{where.scg}" for where in self.relays],
            care=[f"http://{HOST}:{where.care}" for where in self.relays],
            tls=[f"https://{HOST}:{where.tls}" for where in self.relays],
            kits=[f"mqtt://{HOST}:{node.mqtt}" for node in self.nodes],
            nats=[f"nats://{HOST}:{node.client}" for node in self.nodes],
            database=self.programs[0].command[self.programs[0].command.index("-p") + 1],
            programs={program.name: program.process.pid for program in self.programs if program.process},
            folder=str(self.folder),
        )


async def _all(group: list[Program]) -> None:
    await asyncio.gather(*(program.ready() for program in group))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _addresses(number: int, port: int, care_port: int) -> Addresses:
    """The documented ports, STEP apart per relay; free ports where the first relay's port is 0."""
    wanted = (port, care_port, port and port + 1, port and port + 2, port and port + 443)
    return Addresses(*(one + number * STEP if one else free_port() for one in wanted))


def _node(number: int, mqtt_port: int) -> Node:
    return Node(f"nats-{number + 1}", free_port(), mqtt_port + number if mqtt_port else free_port(), free_port())


def _listens(port: int) -> Works:
    async def works() -> bool:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(HOST, port)
            writer.close()
            return True
        return False

    return works


def _answers(port: int) -> Works:
    def ask() -> bool:
        asked = http.client.HTTPConnection(HOST, port, timeout=3.0)
        with contextlib.closing(asked), contextlib.suppress(*REFUSED):
            asked.request("GET", "/readyz")
            return asked.getresponse().status == http.client.OK
        return False

    async def works() -> bool:
        return await asyncio.to_thread(ask)

    return works
