"""The agent's only wiring: source -> recorder -> outbox -> uplink, each supervised by itself, and an orderly shutdown.

On SIGTERM or SIGINT, within about three seconds: the source is released, the session ended, everything written to disk,
what can be delivered is delivered, and status says offline.
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
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from agent.channels import Channel
from agent.doctor import examine_running
from agent.errors import AgentError, OutboxError, RecordingUnusable, SettingsError
from agent.identity.folder import IdentityFolder
from agent.identity.renewal import Renewal
from agent.operations import machine
from agent.operations.care import Care
from agent.operations.commands import Commands
from agent.operations.configuration import Configuration
from agent.operations.status import Status
from agent.outbox import OUTBOX_FILE, Outbox
from agent.process.backoff import Backoff
from agent.process.logs import recent
from agent.process.notify import Watchdog, notify
from agent.process.supervisor import end, supervise
from agent.recorder import Recorder, end_session
from agent.settings import AgentSettings, service_manager
from agent.sources import Source
from agent.sources.ble.adapter import power_cycle
from agent.sources.ble.radio import Radio
from agent.sources.ble.source import BleSource
from agent.sources.port import Port
from agent.sources.replay import ReplaySource
from agent.sources.serial import SerialSource
from agent.uplink import Uplink
from agent.wall_clock import WallClock
from core.contracts.service import READY, STOPPING

if TYPE_CHECKING:
    from agent.vision.app import Watch

log = structlog.get_logger(__name__)

DELIVER_WITHIN_S = 1.2
"""At shutdown, how long to wait for acknowledgements; whatever remains is on disk for the next start."""
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


def build_sources(settings: AgentSettings, radio: Radio | None = None) -> list[Source]:
    """The sources named by the settings; SettingsError if neither these nor a camera is set.

    `radio` defaults to this host's.
    """
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
    if not found and settings.source.camera.device is None:
        raise SettingsError(
            "nothing to read: give --serial PORT, --ble SENSOR, --camera DEVICE or --replay FILE (source.serial.port, "
            "source.ble, source.camera.device, source.replay.file)"
        )
    return found


def build_watch(settings: AgentSettings, outbox: Outbox, wall: WallClock, changed: Callable[[], None]) -> Watch | None:
    """The camera's part of the agent, if a camera is set.

    Imported only then, so that other kits need none of its packages.
    """
    if settings.source.camera.device is None:
        return None
    try:
        from agent.vision.app import Watch
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a camera needs the package {error.name!r}, which is not installed here: pip install 'homeside[vision]'"
        ) from None
    return Watch(settings, outbox, wall, changed=changed)


class Agent:
    """Call `run`; it returns after `stop`, or when a recording has been read and delivered."""

    def __init__(
        self,
        settings: AgentSettings,
        radio: Radio | None = None,
        *,
        configuration: Configuration | None = None,
        check: Check = lambda _: None,
    ) -> None:
        self.again = False
        """Whether `run` ended only in order to be started again with other settings."""
        self._settings = settings
        sources = build_sources(settings, radio)
        boot = secrets.token_hex(8)
        self._outbox = Outbox(settings.state / OUTBOX_FILE, settings.outbox.quota_bytes, boot)
        wall = WallClock(time.monotonic_ns(), time.time_ns())
        self._channels = [
            Channel(source, Recorder(self._outbox, settings.session, wall, version(), sensor=source.name))
            for source in sources
        ]
        self._watch = build_watch(settings, self._outbox, wall, lambda: self._uplink.publish_status())
        self._status = Status(version(), self._channels, self._outbox, wall, self._watch)
        self._renewal = Renewal(IdentityFolder(settings.state), settings.identity.relay)
        self._care = Care(
            settings,
            self._outbox,
            configuration or Configuration(settings.state),
            check=check,
            restart=self.restart,
            report=self._report,
            certificate=self._renewal.told,
        )
        self._status.more = self._care.status
        self._commands = Commands(self._channels, self._watch, done=self._commanded, more=self._care.commands)
        self._uplink = Uplink(
            settings.broker, settings.kit, self._outbox, status=self._status.body, command=self._commands.take
        )
        self._status.uplink = self._uplink
        self._manager = service_manager()
        self._watchdog = Watchdog(*self._manager, self._samples, self._status.problem)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()

    def restart(self) -> None:
        """Shut down in order, keeping the session, to be started again; after a moment, so that status can still give
        the reason.
        """
        self.again = True
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, self.stop)

    async def run(self) -> None:
        """Raises OutboxError when the state folder cannot be used, RecordingUnusable for an unreadable recording."""
        await self._outbox.open()
        self._take_up_sessions()
        log.info("agent_started", kit=self._settings.kit, boot=self._outbox.boot, version=version())
        keeping = _duty("outbox", self._outbox.keep)
        sending = _duty("uplink", self._uplink.run)
        duties = {"status": self._tell, "health": self._tell_health, "commands": self._commands.run}
        duties |= {"care": self._care.run, "watchdog": self._watchdog.run}
        others = [_duty(name, duty) for name, duty in duties.items()]
        if self._settings.identity.relay:
            others.append(_duty("renewal", self._renewal.run))
        notify(self._manager.address, READY)
        reading = [asyncio.create_task(self._read(channel)) for channel in self._channels]
        if self._watch is not None:
            reading.append(asyncio.create_task(self._watching(self._watch)))
        try:
            await self._stop.wait()
        finally:
            notify(self._manager.address, STOPPING)
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

    def _take_up_sessions(self) -> None:
        """Each sensor resumes its own session, wherever it stands in the settings; those of removed sensors end."""
        left = self._outbox.sessions
        for channel in self._channels:
            channel.recorder.take_up(left.pop(channel.source.name, None))
        for sensor, mark in left.items():
            end_session(self._outbox, mark, sensor, mark.seen_at, time.time_ns() // 1_000_000)

    async def _read(self, channel: Channel) -> None:
        """Run a source until it ends; then deliver what it gave and stop the agent."""
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

    async def _watching(self, watch: Watch) -> None:
        """The same for the camera; but when it ends, the agent continues as long as there are sensors."""
        try:
            await watch.run()
            if not self._channels:
                self._end_session()
                await self._delivered(REPLAYED_WITHIN_S)
        finally:
            if not self._channels:
                self.stop()

    async def _tell(self) -> None:
        while True:
            await asyncio.sleep(self._settings.status_every_s)
            self._uplink.publish_status()

    async def _tell_health(self) -> None:
        while True:
            measuring = self._samples() > 0 and self._status.problem() is None
            self._care.tell_health(version(), connected=self._uplink.connected, measuring=measuring)
            await asyncio.sleep(HEALTH_EVERY_S)

    def _samples(self) -> int:
        """Samples and pictures since the start: the measure of progress for the watchdog and the updater."""
        pictures = self._watch.camera.frames if self._watch is not None else 0
        return pictures + sum(channel.source.samples for channel in self._channels)

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
        """Wait until everything is acknowledged, but only while connected to a broker."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._uplink.connected and self._outbox.figures.messages:  # noqa: ASYNC110 - once, at the end
                    await asyncio.sleep(0.02)

    def _end_session(self) -> None:
        if self._watch is not None:
            self._watch.end()
        for channel in self._channels:
            if self._settings.session.keep or self.again:
                channel.recorder.flush()
            else:
                channel.recorder.end()

    async def _report(self) -> dict[str, Any]:
        """The answer to `diagnose`: everything needed to find out remotely what is wrong with this kit."""
        findings = await examine_running(self._settings)
        return {
            "status": self._status.payload("online"),
            "findings": [asdict(finding) for finding in findings],
            "settings": self._settings.model_dump(mode="json"),
            "packages": machine.packages()[1],
            "events": list(recent),
        }

    def _source_troubled(self, channel: Channel, text: str) -> None:
        if self._status.troubled(channel, text):
            self._uplink.publish_status()

    def _commanded(self) -> None:
        self._status.command = self._commands.last
        self._uplink.publish_status()


def _duty(name: str, duty: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    return asyncio.create_task(supervise(name, duty, Backoff(*DUTY_RETRY_S)), name=name)


async def _ended(*tasks: asyncio.Task[None]) -> AgentError | None:
    """Cancel and await the tasks; returns the AgentError that one of them had already ended with, if any."""
    await end(tasks)
    found = await asyncio.gather(*tasks, return_exceptions=True)
    return next((error for error in found if isinstance(error, AgentError)), None)


async def serve(settings: AgentSettings, configuration: Configuration, check: Check) -> bool:
    """Run an agent until it ends by itself or by SIGTERM or SIGINT; returns whether it is to be started again.

    `check` raises SettingsError for remote settings that cannot be used.
    """
    agent = Agent(settings, configuration=configuration, check=check)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, agent.stop)
    await agent.run()
    return agent.again
