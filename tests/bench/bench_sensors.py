"""Three sensors at once over the virtual radio, reconnection after a lost link, clock error, and the decoding of
packets.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import numpy as np

from agent.sources.ble.radio import Radio
from core.signals.clock import DeviceClock
from firmware_bridge.simulator import Board, SimulatedSensor
from tests.agent.peers import TimeSignal
from tests.bench.rows import Row, show
from tests.firmware_bridge.captures import Stream, streams
from tests.radio.air import Air
from tests.radio.peripherals import HomesidePeripheral
from tests.radio.reading import reading
from tests.waiting import comes

SECONDS = 8.0
PER_SECOND = 400
LINKS_LOST = 20
INTERVAL_NS, SKEW = 30e6, 30e-6


def rows() -> list[Row]:
    return [*asyncio.run(_three_at_once()), asyncio.run(_again()), *_clock_error(), *_decoding()]


async def _three_at_once() -> list[Row]:
    """400 notifications a second altogether, and each of them; CPU is the whole process: sensors, radio and agent."""
    found = []
    for each, frame_ms in ((PER_SECOND / 3, 7.5), (PER_SECOND, 2.5)):
        async with AsyncExitStack() as stack:
            air = await stack.enter_async_context(Air())
            radio = Radio(scanner=air.scanner_backend, client=air.client_backend)
            boards = [SimulatedSensor(TimeSignal(), 400.0, board=Board(frame_ms=frame_ms)) for _ in range(3)]
            sensors = [HomesidePeripheral(air, board, f"homeside-{n}") for n, board in enumerate(boards)]
            sinks = []
            for one in sensors:
                one.every_s = frame_ms / 1000
                await stack.enter_async_context(one)
                sinks.append(await stack.enter_async_context(reading(radio, one.name)))
            await comes(lambda sinks=sinks: all(sink.count for _, sink in sinks))
            began, used, sent = time.perf_counter(), time.process_time(), sum(one.sent for one in sensors)
            handled = _handling(sinks)
            await asyncio.sleep(SECONDS)
            took, used = time.perf_counter() - began, time.process_time() - used
            many = (sum(one.sent for one in sensors) - sent) / took
            lost = sum(sink.lost for _, sink in sinks)
            ordered = all((np.diff(sink.t_ns) > 0).all() for _, sink in sinks)
            name = f"three sensors, {each:.0f} notifications/s each"
        found += [
            Row(f"{name}: came", many, "notifications/s", "goal", 3 * each),
            Row(f"{name}: lost or out of order", lost + (not ordered), "samples", "goal", 0),
            Row(f"{name}: a core, with radio and sensors", 100 * used / took, "%"),
            Row(f"{name}: a core, the agent's part", 100 * handled() / took, "%", "goal", 10),
        ]
    return found


def _handling(sinks: list[Any]) -> Any:
    """Processor time of the sources' own work: decoding, times, sink; by wrapping what each packet goes through."""
    spent = 0.0
    for source, _ in sinks:
        decoder, sensing = source._decoder, source._sensing
        for thing, name in ((decoder, "notified"), (sensing, "handle")):
            work = getattr(thing, name)

            def timed(*words: Any, work: Any = work) -> Any:
                nonlocal spent
                began = time.thread_time()
                try:
                    return work(*words)
                finally:
                    spent += time.thread_time() - began

            setattr(thing, name, timed)
    return lambda: spent


async def _again() -> Row:
    worst = 0.0
    async with Air() as air:
        radio = Radio(scanner=air.scanner_backend, client=air.client_backend)
        board = SimulatedSensor(TimeSignal(), 100.0)
        async with HomesidePeripheral(air, board, "chest-1") as sensor, reading(radio, "chest-1") as (_, sink):
            await comes(lambda: sink.count > 20)
            for _ in range(LINKS_LOST):
                before, began = sink.count, time.perf_counter()
                await sensor.drop()
                await comes(lambda before=before: sink.count > before)
                worst = max(worst, time.perf_counter() - began)
    return Row(f"streaming again after a lost link, worst of {LINKS_LOST}", worst, "s", "goal", 5.0)


def _clock_error() -> list[Row]:
    """200 Hz in frames of 25 ms over a connection interval of 30 ms, 2 % of the events lost, after the first minute."""
    rng, clock = np.random.default_rng(1), DeviceClock(1000.0)
    true = 4e9 + np.arange(0, 300e9, 24.7e6)
    ticks = np.rint(true * (1 + SKEW) / 1000).astype(np.int64)
    events = np.ceil((true + 1.5e6) / INTERVAL_NS) + rng.geometric(0.98, len(true)) - 1
    arrivals = np.maximum.accumulate(events * INTERVAL_NS + rng.exponential(0.3e6, len(true))).astype(np.int64)
    given = []
    for tick, arrival in zip(ticks.tolist(), arrivals.tolist(), strict=True):
        clock.observe(tick, arrival)
        given.append(float(clock.to_ns(np.array([tick]))[0]))
    later = true > 64e9
    ours, stamps = (np.array(given) - true)[later] / 1e6, (arrivals - true)[later] / 1e6
    return [
        Row("clock error at 30 ms interval: bias", float(ours.mean()), "ms", "arrival stamps", float(stamps.mean())),
        Row("clock error at 30 ms interval: bias", float(ours.mean()), "ms", "goal", 3.0),
        Row("clock error at 30 ms interval: sd", float(ours.std()), "ms", "arrival stamps", float(stamps.std())),
        Row("clock error at 30 ms interval: sd", float(ours.std()), "ms", "goal", 1.5),
    ]


def _decoding() -> list[Row]:
    found = []
    for name, stream in streams().items():
        if name != "polar control":
            found.append(Row(f"a packet decoded, {name}", min(_once(stream) for _ in range(7)), "µs", "goal", 30.0))
    return found


def _once(stream: Stream, rounds: int = 40) -> float:
    decoder = stream.make()
    began = time.thread_time()
    for _ in range(rounds):
        for packet in stream.packets:
            stream.feed(decoder, packet)
    return (time.thread_time() - began) / (rounds * len(stream.packets)) * 1e6


if __name__ == "__main__":
    show("Sensors", rows())
