"""From three sensors on the virtual radio through agent, broker and relay to physicians' sockets, all at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.app import Agent
from agent.settings import AgentSettings
from agent.sources.ble.radio import Radio
from core.contracts.columns import join, unpack
from core.signals.refit import refit
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import SimulatedSensor
from tests.contract.sockets import Socket
from tests.programs import RelayProgram
from tests.radio.air import Air
from tests.radio.peripherals import HomesidePeripheral, MovesenseSensor, Peripheral, PolarH10
from tests.radio.unclocked import BangleWatch, ThingySensor, WitMotionSensor
from tests.waiting import comes

KINDS = {
    "homeside-chest": "ADXL355 (simulated)",
    "polar": "Polar H10",
    "movesense": "Movesense",
    "witmotion": "WitMotion",
    "thingy": "Nordic Thingy:52",
    "banglejs": "Bangle.js",
}
TRIOS = (("homeside-chest", "polar", "movesense"), ("witmotion", "thingy", "banglejs"))
"""Those whose clocks are good enough to be fitted again and to tell a heart rate from, and the others."""
POINTS = 300


def peripheral(air: Air, device: str) -> Peripheral:
    if device == "homeside-chest":
        return HomesidePeripheral(air, SimulatedSensor(Seismocardiogram(), 100.0), device)
    makes = {
        "polar": PolarH10,
        "movesense": MovesenseSensor,
        "witmotion": WitMotionSensor,
        "thingy": ThingySensor,
        "banglejs": BangleWatch,
    }
    return makes[device](air)


@asynccontextmanager
async def running(settings: AgentSettings, radio: Radio) -> AsyncIterator[Agent]:
    agent = Agent(settings, radio)
    task = asyncio.create_task(agent.run())
    try:
        yield agent
    finally:
        agent.stop()
        await task


def told(agent: Agent) -> dict[str, Any]:
    return json.loads(agent._status.body("online"))["payload"]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("devices", TRIOS, ids=["-".join(trio) for trio in TRIOS])
async def test_three_sensors_over_the_air_reach_three_physicians(tmp_path: Path, devices: tuple[str, ...]) -> None:
    clocked = devices is TRIOS[0]
    relay = RelayProgram(tmp_path / "relay")
    relay.hears_kits()
    settings = AgentSettings.model_validate(
        {
            "kit": "bedside-01",
            "state": tmp_path / "kit",
            "broker": {"url": f"mqtt://127.0.0.1:{relay.mqtt_port}"},
            "source": {"ble": [{"device": device} for device in devices]},
        }
    )
    async with AsyncExitStack() as stack:
        air = await stack.enter_async_context(Air())
        for device in devices:
            await stack.enter_async_context(peripheral(air, device))
        radio = Radio(scanner=air.scanner_backend, client=air.client_backend)
        agent = await stack.enter_async_context(running(settings, radio))
        sources = await comes(lambda: (found := told(agent)["sources"])[2]["session"] and found)
        assert len({one["session"] for one in sources}) == 3
        await asyncio.to_thread(relay.child.wait_for_event, "session_created", 30.0, 3)
        viewers = [
            await stack.enter_async_context(Socket(f"{relay.ws}/ws/{one['session']}?role=viewer&with=analysis"))
            for one in sources
        ]
        for viewer in viewers:
            await comes(lambda viewer=viewer: len(viewer.points()) > POINTS, within_s=120)
        rates = [await viewer.rate(within_s=120) for viewer in viewers] if clocked else []
        await comes(lambda: {one["batteryPercent"] for one in told(agent)["sources"]} == {80})
        sensors = [await viewer.sensor("kind") for viewer in viewers]
        sources = told(agent)["sources"]
    relay.stop()
    for one in sources if clocked else ():
        _can_be_refitted(tmp_path / "relay", one["session"])
    assert [rate["bpm"] for rate in rates] == [pytest.approx(64, abs=4)] * len(rates), "as the simulated chest beats"
    assert [sensor["kind"] for sensor in sensors] == [KINDS[device] for device in devices]
    assert [one["lost"] for one in sources] == [0, 0, 0]
    for viewer in viewers:
        points = viewer.points()
        steps = {b["t"] - a["t"] for a, b in itertools.pairwise(points)}
        assert steps == {10} if clocked else min(steps) == 10, "arrivals alone may leave a gap on a busy machine"
        assert np.median([point["az"] for point in points]) == pytest.approx(9.81, abs=0.3)


def _can_be_refitted(data: Path, session: str) -> None:
    """From what the relay stored, and nothing else: every packet's tick and arrival, and the samples they hold."""
    database = sqlite3.connect(next(data.glob("*.db")))
    rows = database.execute("SELECT clock, body FROM scg_chunks WHERE session_id = ? ORDER BY first_seq", (session,))
    notes, columns = [], []
    for clock, body in rows:
        notes += json.loads(clock)
        columns.append(unpack(body))
    database.close()
    packets = [tuple(packet) for note in notes for packet in note[6]]
    newest = np.cumsum([count for _, _, count in packets]) - 1
    stored_ns = join(columns).t[newest] * 1e6 - notes[0][5]
    assert len(join(columns)) == newest[-1] + 1
    found = refit(packets, tick_ns=notes[0][4])
    assert (np.diff(found.t_ns) > 0).all()
    assert np.abs(found.t_ns - stored_ns)[-10:].max() < 250e6, "what the kit knew in the end"
