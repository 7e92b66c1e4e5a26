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
from functools import partial

import structlog

from agent.backoff import Backoff
from agent.channels import Channel
from agent.commands import Commands
from agent.errors import AgentError, OutboxError, RecordingUnusable, SettingsError
from agent.outbox import Outbox
from agent.recorder import Recorder
from agent.settings import AgentSettings
from agent.sources import Source
from agent.sources.ble.adapter import power_cycle
from agent.sources.ble.radio import Radio
from agent.sources.ble.source import BleSource
from agent.sources.port import Port
from agent.sources.replay import ReplaySource
from agent.sources.serial import SerialSource
from agent.status import Status
from agent.supervisor import supervise
from agent.uplink import Uplink
from agent.wall_clock import WallClock

log = structlog.get_logger(__name__)

OUTBOX_FILE = "outbox.db"
DELIVER_WITHIN_S = 1.2
"""At the end: how long the last messages may take to be acknowledged; the rest is on disk for the next start."""
DISCONNECT_WITHIN_S = 0.8
REPLAYED_WITHIN_S = 30.0
SOURCE_RETRY_S = (0.3, 5.0)
DUTY_RETRY_S = (0.5, 10.0)


def version() -> str:
    try:
        return importlib.metadata.version("homeside")
    except importlib.metadata.PackageNotFoundError:
        return "0+source"


def build_sources(settings: AgentSettings, radio: Radio | None = None) -> list[Source]:
    """The sources the settings name; SettingsError when they name none. `radio` is this host's when left out."""
    serial, replay, ble = settings.source.serial, settings.source.replay, settings.source.ble
    found: list[Source] = []
    if serial.port is not None:
        path = serial.port
        found.append(SerialSource(serial, path, lambda: Port(path, serial.baud)))
    if ble:
        radio = radio or Radio(settings.source.bluetooth, reset=partial(power_cycle, settings.source.bluetooth))
        found += [BleSource(one, radio) for one in ble]
    if replay.file is not None:
        found.append(ReplaySource(replay, replay.file))
    if not found:
        raise SettingsError(
            "nothing to read: give --serial PORT, --ble SENSOR or --replay FILE (source.serial.port, source.ble, "
            "source.replay.file)"
        )
    return found


class Agent:
    """`run` until `stop`, or until a recording is through and delivered."""

    def __init__(self, settings: AgentSettings, radio: Radio | None = None) -> None:
        self._settings = settings
        sources = build_sources(settings, radio)
        boot = secrets.token_hex(8)
        self._outbox = Outbox(settings.state / OUTBOX_FILE, settings.outbox.quota_bytes, boot)
        wall = WallClock(time.monotonic_ns(), time.time_ns())
        self._channels = [
            Channel(source, Recorder(self._outbox, settings.session, wall, version(), sensor=source.name if at else ""))
            for at, source in enumerate(sources)
        ]
        self._status = Status(version(), self._channels, self._outbox, wall)
        self._commands = Commands(self._channels, done=self._commanded)
        self._uplink = Uplink(
            settings.broker, settings.kit, self._outbox, status=self._status.body, command=self._commands.take
        )
        self._status.uplink = self._uplink
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> None:
        """Raises OutboxError when the state folder cannot be used, RecordingUnusable for such a file."""
        last = await self._outbox.open()
        for at, channel in enumerate(self._channels):
            channel.recorder.take_up(self._outbox.last(channel.source.name) if at else last)
        log.info("agent_started", kit=self._settings.kit, boot=self._outbox.boot, version=version())
        keeping = _duty("outbox", self._outbox.keep)
        sending = _duty("uplink", self._uplink.run)
        others = [_duty("status", self._tell), _duty("commands", self._commands.run)]
        reading = [asyncio.create_task(self._read(channel)) for channel in self._channels]
        try:
            await self._stop.wait()
        finally:
            unusable = await _ended(*reading)
            await _ended(*others)
            await self._deliver_the_rest()
            self._uplink.stop()
            await asyncio.wait([sending], timeout=DISCONNECT_WITHIN_S)
            await _ended(sending, keeping)
            await self._close_outbox()
            log.info("agent_stopped", backlog=self._outbox.figures.messages)
        if unusable is not None:
            raise unusable

    async def _read(self, channel: Channel) -> None:
        """Until the source is through; then what it gave is delivered, and the agent with it."""
        try:
            await supervise(
                channel.source.name,
                lambda: channel.source.run(channel.recorder),
                Backoff(*SOURCE_RETRY_S),
                troubled=partial(self._source_troubled, channel),
                fatal=RecordingUnusable,
            )
            self._end_session()
            await self._delivered(REPLAYED_WITHIN_S)
        finally:
            self.stop()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._settings.status_every_s)
            self._uplink.publish_status()

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
        for channel in self._channels:
            if self._settings.session.keep:
                channel.recorder.flush()
            else:
                channel.recorder.end()

    def _source_troubled(self, channel: Channel, text: str) -> None:
        if self._status.troubled(channel, text):
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


async def serve(settings: AgentSettings) -> None:
    """An agent until it is through or told to stop by SIGTERM or SIGINT."""
    agent = Agent(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()
