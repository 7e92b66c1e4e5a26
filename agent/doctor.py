"""Checks, one by one, everything that could keep this kit from measuring; every failure comes with its remedy.

Checking changes nothing: the outbox is opened read-only, and the broker is contacted under a client id of its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from serial.tools import list_ports

from agent.errors import AgentError, OutboxDamaged, OutboxInUse, PortError, SettingsError, SourceError, UplinkError
from agent.outbox import OUTBOX_FILE
from agent.outbox.inspection import inspect
from agent.sections import Ble
from agent.settings import AgentSettings
from agent.sources.ble.radio import Radio, Seen
from agent.sources.port import Port
from agent.uplink.link import V5, V311, Link
from core.contracts.errors import ContractError
from core.contracts.recordings import parse_recording
from core.contracts.scg import decode_envelope
from core.contracts.topics import Lane
from firmware_bridge import commands
from firmware_bridge.decoders import Identity, Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial

SENSOR_WITHIN_S = 3.0
RETAINED_WITHIN_S = 1.0
SPARE_BYTES = 256 << 20
_UNSYNCHRONISED = 5


OpenPort = Callable[[str, int], Port]
OpenRadio = Callable[[str | None], Radio]


class Verdict(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    verdict: Verdict
    text: str
    remedy: str = ""

    @property
    def failed(self) -> bool:
        return self.verdict is Verdict.FAILED


async def examine(settings: AgentSettings | SettingsError, open_port: OpenPort, open_radio: OpenRadio) -> list[Finding]:
    """Run all checks in the order a person would; without usable settings, only the first."""
    if isinstance(settings, SettingsError):
        return [Finding("settings", Verdict.FAILED, str(settings), "correct the key named here")]
    checks: list[Callable[[AgentSettings], Awaitable[Finding]]] = [_broker, _clock, _disk, _outbox]
    return [
        Finding("settings", Verdict.OK, f"kit {settings.kit}, state in {settings.state}"),
        *await _sources(settings, open_port, open_radio),
        *[await check(settings) for check in checks],
    ]


async def examine_running(settings: AgentSettings) -> list[Finding]:
    """The checks that are possible while the agent runs and holds the sensor's port."""
    return [await check(settings) for check in (_broker, _clock, _disk, _outbox)]


def show(findings: list[Finding], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
        return
    colours = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.FAILED: "red", Verdict.SKIPPED: "dim"}
    table = Table("check", "", "what was found", "what to do")
    for finding in findings:
        verdict = f"[{colours[finding.verdict]}]{finding.verdict.value}[/]"
        table.add_row(finding.check, verdict, finding.text, finding.remedy)
    Console().print(table)


async def _sources(settings: AgentSettings, open_port: OpenPort, open_radio: OpenRadio) -> list[Finding]:
    """One finding for the serial port or recording (unless all sensors are Bluetooth), and one for each Bluetooth
    sensor.
    """
    source = settings.source
    wired = source.serial.port is not None or source.replay.file is not None or not source.ble
    found = [await _source(settings, open_port)] if wired else []
    return [*found, *(await _air(source.ble, open_radio(source.bluetooth)) if source.ble else [])]


async def _air(sensors: tuple[Ble, ...], radio: Radio) -> list[Finding]:
    """One scan for all sensors. A sensor to which the agent is connected does not advertise."""
    try:
        seen = await radio.scan(SENSOR_WITHIN_S)
    except SourceError as error:
        return [Finding("bluetooth", Verdict.FAILED, "Bluetooth cannot be used here", str(error))]
    return [_in_reach(sensor.device, [one for one in seen if _is(one, sensor.device)]) for sensor in sensors]


def _in_reach(device: str, found: list[Seen]) -> Finding:
    if not found:
        remedy = "wear or wake it, disconnect it from phones; fine if the agent runs and is connected to it"
        return Finding("sensor", Verdict.WARNING, f"{device}: not in reach over the air", remedy)
    return Finding("sensor", Verdict.OK, f"{device}: {found[0].name or found[0].address}, {found[0].rssi} dBm")


def _is(seen: Seen, device: str) -> bool:
    by_family = seen.family is not None and seen.family.key == device
    return by_family or seen.name == device or seen.address.upper() == device.upper()


async def _source(settings: AgentSettings, open_port: OpenPort) -> Finding:
    serial, replay = settings.source.serial, settings.source.replay
    if serial.port is not None:
        return await _serial(serial.port, open_port(serial.port, serial.baud))
    if replay.file is not None:
        return await asyncio.to_thread(_recording, replay.file)
    found = ", ".join(port.device for port in list_ports.comports()) or "none"
    remedy = "set source.serial.port, or give --serial"
    return Finding("sensor", Verdict.FAILED, f"no source is set; serial ports here: {found}", remedy)


def _recording(path: Path) -> Finding:
    try:
        recording = parse_recording(path.read_bytes(), path.name)
    except (OSError, ContractError) as error:
        return Finding("recording", Verdict.FAILED, str(error), "give a .csv, .ndjson or .json recording")
    text = f"{path.name}: {len(recording)} samples at {recording.sampling_rate_hz:.1f} Hz"
    return Finding("recording", Verdict.OK, text)


async def _serial(path: str, port: Port) -> Finding:
    """Open the port as the agent would, and ask the sensor to identify itself."""
    decoder = HomesideSerial()
    port.start()
    port.write(commands.identify())
    samples, deadline = 0, time.monotonic() + SENSOR_WITHIN_S
    try:
        while (left := deadline - time.monotonic()) > 0:
            for data, arrival_ns in await port.chunks(left):
                for event in decoder.feed(data, arrival_ns):
                    if isinstance(event, Identity):
                        text = f"{path}: {event.name} ({event.sensor}, firmware {event.firmware})"
                        return Finding("sensor", Verdict.OK, text)
                    samples += len(event.ticks) if isinstance(event, Samples) else 0
    except PortError as error:
        text, _, remedy = str(error).partition(": ")
        return Finding("sensor", Verdict.WARNING if "in use" in text else Verdict.FAILED, text, remedy)
    finally:
        await port.close()
    if samples:
        return Finding("sensor", Verdict.WARNING, f"{path}: samples, but no answer to identify", "update its firmware")
    damaged = sum(decoder.counters.damaged.values())
    text = f"{path}: bytes come, but no frame of ours ({damaged} damaged)"
    return Finding("sensor", Verdict.FAILED, text, "check source.serial.baud, and which device this port is")


class _Retained:
    """Receives the status message that the broker retains for this kit."""

    def __init__(self) -> None:
        self.status: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    def on_taken(self, mid: int, refused: str | None) -> None: ...

    def on_closed(self, reason: str) -> None: ...

    def on_message(self, lane: Lane, body: bytes, *, retained: bool) -> None:
        with suppress(ContractError, msgspec.MsgspecError):
            if not self.status.done():
                self.status.set_result(msgspec.json.decode(decode_envelope(body).payload, type=dict[str, Any]))


async def _broker(settings: AgentSettings) -> Finding:
    broker, kit, retained = settings.broker, settings.kit, _Retained()
    try:
        version = V5 if await Link.speaks_5(broker, kit, alias="doctor") else V311
        link = await Link.open(broker, kit, version, listener=retained, alias="doctor", lanes=(Lane.ACK,))
    except (UplinkError, SettingsError) as error:
        text, _, remedy = str(error).rpartition(": ") if ": set " in str(error) else (str(error), "", "")
        return Finding("broker", Verdict.FAILED, text, remedy or "check broker.url, the network, and that it runs")
    await link.close(within_s=1.0)
    how = f"MQTT {'5' if version == V5 else '3.1.1'}{', TLS verified' if broker.encrypted else ', not encrypted'}"
    said = await _last_status(settings, version, retained)
    return Finding("broker", Verdict.OK, f"{broker.scheme}://{broker.host}:{broker.port}: {how}{said}")


async def _last_status(settings: AgentSettings, version: Any, retained: _Retained) -> str:
    """The state and backlog in the agent's last status, if this kit may read it there."""
    with suppress(UplinkError, TimeoutError):
        link = await Link.open(
            settings.broker, settings.kit, version, listener=retained, alias="doctor", lanes=(Lane.STATUS,)
        )
        try:
            async with asyncio.timeout(RETAINED_WITHIN_S):
                status = await retained.status
        finally:
            await link.close(within_s=1.0)
        return f"; the agent there is {status.get('state')}, backlog {status.get('backlog')}"
    return ""


async def _clock(settings: AgentSettings) -> Finding:
    """adjtimex(2), called without changes, tells whether the clock is being synchronised."""
    state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(512))
    if state in (_UNSYNCHRONISED, -1):
        remedy = "set up time synchronisation: timedatectl set-ntp true"
        return Finding("clock", Verdict.WARNING, "the clock is not synchronised: times may be off", remedy)
    return Finding("clock", Verdict.OK, "synchronised")


async def _disk(settings: AgentSettings) -> Finding:
    folder = settings.state
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        remedy = f"give the user the folder: chown -R USER {settings.state}"
        return Finding("disk", Verdict.FAILED, f"{folder} may not be written", remedy)
    free = shutil.disk_usage(folder).free
    path = settings.state / OUTBOX_FILE
    wanted = settings.outbox.quota_bytes - (path.stat().st_size if path.exists() else 0)
    text = f"{_size(free)} free, the outbox may still grow by {_size(max(0, wanted))}"
    if free < SPARE_BYTES:
        return Finding("disk", Verdict.FAILED, text, "free some space")
    if free < wanted + SPARE_BYTES:
        return Finding("disk", Verdict.WARNING, text, "free some space, or lower outbox.quota_bytes")
    return Finding("disk", Verdict.OK, text)


async def _outbox(settings: AgentSettings) -> Finding:
    path = settings.state / OUTBOX_FILE
    if not path.exists():
        return Finding("outbox", Verdict.OK, "none yet")
    try:
        state = await asyncio.to_thread(inspect, path)
    except OutboxInUse:
        return Finding("outbox", Verdict.OK, "held by a running agent; its backlog is in its status")
    except OutboxDamaged as error:
        remedy = "start the agent: it moves the file aside and keeps what can be read"
        return Finding("outbox", Verdict.FAILED, str(error), remedy)
    except AgentError as error:
        return Finding("outbox", Verdict.FAILED, str(error))
    text = f"{state.messages} messages wait"
    counts = {"dropped by the quota": state.dropped, "lost to damage": state.damaged, "refused": state.rejected}
    troubles = [f"{count} {what}" for what, count in counts.items() if count]
    if troubles:
        remedy = "look into the agent's log for when and why"
        return Finding("outbox", Verdict.WARNING, f"{text}; ever since: {', '.join(troubles)}", remedy)
    return Finding("outbox", Verdict.OK, f"{text}, file sound")


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / (1 << 20):.0f} MiB"
