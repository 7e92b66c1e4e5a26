"""The agent's only wiring: source -> recorder -> outbox -> uplink, each kept running by itself, and an orderly end.

The end, on SIGTERM or SIGINT, within three seconds: the source is let go, the session ended, everything on disk,
what can be is delivered, status says offline.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import structlog

from agent import machine
from agent.backoff import Backoff
from agent.care import Care
from agent.commands import Commands
from agent.configuration import Configuration
from agent.doctor import examine_running
from agent.errors import AgentError, OutboxError, RecordingUnusable, SettingsError
from agent.logs import recent
from agent.notify import Watchdog, notify
from agent.outbox import OUTBOX_FILE, Outbox
from agent.recorder import Recorder
from agent.settings import AgentSettings, service_manager
from agent.sources import Source
from agent.sources.port import Port
from agent.sources.replay import ReplaySource
from agent.sources.serial import SerialSource
from agent.status import Status
from agent.supervisor import supervise
from agent.uplink import Uplink
from agent.wall_clock import WallClock

log = structlog.get_logger(__name__)

DELIVER_WITHIN_S = 1.2
"""At the end: how long the last messages may take to be acknowledged; the rest is on disk for the next start."""
DISCONNECT_WITHIN_S = 0.8
REPLAYED_WITHIN_S = 30.0
RESTART_AFTER_S = 0.3
HEALTH_EVERY_S = 1.0
SOURCE_RETRY_S = (0.3, 5.0)
DUTY_RETRY_S = (0.5, 10.0)

Check = Callable[[dict[str, Any]], None]


def version() -> str:
    try:
        return importlib.metadata.version("homeside")
    except importlib.metadata.PackageNotFoundError:
        return "0+source"


def build_source(settings: AgentSettings) -> Source:
    """The one source the settings name; SettingsError when they name none."""
    serial, replay = settings.source.serial, settings.source.replay
    if serial.port is not None:
        path = serial.port
        return SerialSource(serial, path, lambda: Port(path, serial.baud))
    if replay.file is not None:
        return ReplaySource(replay, replay.file)
    raise SettingsError("nothing to read: give --serial PORT or --replay FILE (source.serial.port, source.replay.file)")


class Agent:
    """`run` until `stop`, or until a recording is through and delivered."""

    def __init__(self, settings: AgentSettings, configuration: Configuration, check: Check) -> None:
        self.again = False
        """Whether it ended only to begin anew, with other settings."""
        self._settings = settings
        self._source = build_source(settings)
        boot = secrets.token_hex(8)
        self._outbox = Outbox(settings.state / OUTBOX_FILE, settings.outbox.quota_bytes, boot)
        wall = WallClock(time.monotonic_ns(), time.time_ns())
        self._recorder = Recorder(self._outbox, settings.session, wall, version())
        self._status = Status(version(), self._source, self._recorder, self._outbox, wall)
        self._care = Care(
            settings,
            self._outbox,
            configuration,
            check=check,
            restart=self.restart,
            report=self._report,
            now_ms=lambda: time.time_ns() // 1_000_000,
        )
        self._status.more = self._care.status
        self._commands = Commands(self._source, self._recorder, done=self._commanded, more=self._care.commands)
        self._uplink = Uplink(
            settings.broker, settings.kit, self._outbox, status=self._status.body, command=self._commands.take
        )
        self._status.uplink = self._uplink
        self._manager = service_manager()
        self._watchdog = Watchdog(*self._manager, lambda: self._source.samples, self._status.problem)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    def restart(self) -> None:
        """End in order, keeping the session, to begin anew. After a moment, so that status can say why."""
        self.again = True
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, self.stop)

    async def run(self) -> None:
        """Raises OutboxError when the state folder cannot be used, RecordingUnusable for such a file."""
        self._recorder.take_up(await self._outbox.open())
        log.info("agent_started", kit=self._settings.kit, boot=self._outbox.boot, version=version())
        keeping = _duty("outbox", self._outbox.keep)
        sending = _duty("uplink", self._uplink.run)
        others = [
            _duty("status", self._tell),
            _duty("commands", self._commands.run),
            _duty("care", self._care.run),
            _duty("watchdog", self._watchdog.run),
        ]
        notify(self._manager.address, "READY=1")
        reading = asyncio.create_task(self._read())
        try:
            await self._stop.wait()
        finally:
            notify(self._manager.address, "STOPPING=1")
            unusable = await _ended(reading)
            await _ended(*others)
            await self._deliver_the_rest()
            self._uplink.stop()
            await asyncio.wait([sending], timeout=DISCONNECT_WITHIN_S)
            await _ended(sending, keeping)
            await self._close_outbox()
            log.info("agent_stopped", backlog=self._outbox.figures.messages)
        if unusable is not None:
            raise unusable

    async def _read(self) -> None:
        """Until the source is through; then what it gave is delivered, and the agent with it."""
        try:
            await supervise(
                self._source.name,
                lambda: self._source.run(self._recorder),
                Backoff(*SOURCE_RETRY_S),
                troubled=self._source_troubled,
                fatal=RecordingUnusable,
            )
            self._end_session()
            await self._delivered(REPLAYED_WITHIN_S)
        finally:
            self.stop()

    async def _tell(self) -> None:
        elapsed = 0.0
        while True:
            self._tell_health()
            await asyncio.sleep(HEALTH_EVERY_S)
            elapsed += HEALTH_EVERY_S
            if elapsed >= self._settings.status_every_s:
                elapsed = 0.0
                self._uplink.publish_status()

    def _tell_health(self) -> None:
        measuring = self._source.samples > 0 and self._status.problem() is None
        health = {"version": version(), "boot": self._outbox.boot, "connected": self._uplink.connected}
        self._care.tell_health(health | {"measuring": measuring})

    async def _deliver_the_rest(self) -> None:
        self._end_session()
        with suppress(OutboxError):  # told by _close_outbox, if what it held is not delivered meanwhile
            await self._outbox.commit()
        await self._delivered(DELIVER_WITHIN_S)

    async def _close_outbox(self) -> None:
        try:
            await self._outbox.close()
        except OutboxError as error:
            log.error("outbox_not_written_at_the_end", reason=str(error), messages=self._outbox.figures.messages)

    async def _delivered(self, within_s: float) -> None:
        """Wait for the relay's acknowledgement of everything, if there is a broker to wait for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._uplink.connected and self._outbox.figures.messages:  # noqa: ASYNC110 - once, at the end
                    await asyncio.sleep(0.02)

    def _end_session(self) -> None:
        if self._settings.session.keep or self.again:
            self._recorder.flush()
        else:
            self._recorder.end()

    async def _report(self) -> dict[str, Any]:
        """This kit for whoever has to find out from afar what is wrong with it."""
        findings = await examine_running(self._settings)
        return {
            "status": self._status.payload("online"),
            "findings": [asdict(finding) for finding in findings],
            "settings": self._settings.model_dump(mode="json"),
            "packages": machine.packages()[1],
            "events": list(recent),
        }

    def _source_troubled(self, text: str) -> None:
        if self._status.troubled(text):
            self._uplink.publish_status()

    def _commanded(self) -> None:
        self._status.command = self._commands.last
        self._uplink.publish_status()


def _duty(name: str, duty: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    return asyncio.create_task(supervise(name, duty, Backoff(*DUTY_RETRY_S)), name=name)


async def _ended(*tasks: asyncio.Task[None]) -> AgentError | None:
    """Cancel and await them; the error one of them had ended with already."""
    for task in tasks:
        task.cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return next((error for error in found if isinstance(error, AgentError)), None)


async def serve(settings: AgentSettings, configuration: Configuration, check: Check) -> bool:
    """An agent until it is through or told to stop by SIGTERM or SIGINT; whether it is to begin anew.

    `check` raises SettingsError for settings from afar that would not do.
    """
    agent = Agent(settings, configuration, check)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()
    return agent.again
