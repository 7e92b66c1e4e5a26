"""Fingerspelling: letters of people not in the training data, the round trip of a frame, twenty clients at once, and
the speller. Each source of recordings is left out of training in turn; the goals are for signers nobody here trained
on.

`HOMESIDE_DATA=... python -m tests.bench.bench_signs` takes a minute or two.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from core.fingerspelling.speller import Speller
from provisioning.letters.judging import Held, judge, reader_time_us, rehearsed, sure_from, temperature
from provisioning.letters.recipe import teach
from provisioning.letters.sources import recorded, synthetic
from relay.signs.translation.gateway import frequencies
from tests.bench.rows import Row, show
from tests.core.fingerspelling.phrases import common
from tests.core.fingerspelling.spelling import misspelled, network
from tests.films import fitted
from tests.programs import RelayProgram

SEEN_BEFORE = {"boris": 0.88, "nejohnson": 0.78, "dhivyesh": 0.86, "insitee": 0.88}
CLIENTS, RATE, SECONDS = 20, 10, 10.0
TRIPS = 300


def _letters(data: Path) -> list[Row]:
    rng = np.random.default_rng(3)
    sources, made = recorded(data / "signs" / "landmarks.npz"), synthetic(rng)
    held: list[Held] = []
    for one in sources:
        others = [*(other for other in sources if other is not one), made]
        held.append(judge(rehearsed(teach(others, 3, lambda _: None), others, rng), one))
    rows = [
        Row(f"letters without {one.name}: macro", one.macro, "share", "goal", SEEN_BEFORE[one.name]) for one in held
    ]
    sure = sure_from(held, temperature(held))
    return [
        *rows,
        Row("letters: mean macro", float(np.mean([one.macro for one in held])), "share", "goal", 0.88),
        Row("letters: lowest", min(one.macro for one in held), "share", "goal", 0.80),
        *(Row(f"{one.name}: after 5 frames a letter", one.calibrated, "share", "goal", 0.95) for one in held),
        Row("letters: right where sure", sure.accuracy, "share", "goal", 0.95),
        Row("letters: share that is sure", sure.coverage, "share", "goal", 0.75),
        Row("one hand to letter chances", reader_time_us(network(), sources[0].hands[0], time.thread_time), "us"),
    ]


def _speller() -> list[Row]:
    speller = Speller(frequencies("en")[0], network().facts["misread"])
    phrases, rng = common(), np.random.default_rng(11)
    clean, repaired, took = 0, 0, []
    for phrase in phrases:
        letters = phrase.replace(" ", "")
        began = time.thread_time()
        clean += " ".join(speller.spell(list(letters))[0].words) == phrase
        took.append((time.thread_time() - began) * 1000)
        repaired += " ".join(speller.spell(list(misspelled(letters, rng)))[0].words) == phrase
    return [
        Row("speller: clean phrases exact", 100 * clean / len(phrases), "%", "goal", 95.0),
        Row("speller: 5 % of letters wrong, exact", 100 * repaired / len(phrases), "%", "goal", 75.0),
        Row("speller: one phrase, p95", float(np.percentile(took, 95)), "ms", "goal", 20.0),
    ]


def _picture(data: Path) -> str:
    """A photograph of a hand at 640×480, as a client sends it."""
    return base64.b64encode(cv2.imencode(".jpg", fitted(data / "hands" / "call_0413d5c5.jpg"))[1].tobytes()).decode()


def _frame(image: str, session: str, number: int) -> str:
    return json.dumps({"type": "frame", "payload": {"image": image, "timestamp": number, "session_id": session}})


async def _answer(socket: ClientConnection) -> int:
    """The number of the next frame that is answered."""
    while True:
        message = json.loads(await socket.recv())
        if message["type"] == "detection":
            return int(message["payload"]["timestamp"])


async def _trips(url: str, image: str) -> list[float]:
    """Milliseconds from sending a frame to its detection, one after the other."""
    took = []
    async with connect(url) as socket:
        for number in range(TRIPS):
            began = time.perf_counter()
            await socket.send(_frame(image, "one", number))
            await _answer(socket)
            took.append((time.perf_counter() - began) * 1000)
    return took[20:]


async def _client(url: str, image: str, name: str) -> tuple[int, list[float]]:
    """Detections that one of many got, and how old each was."""
    sent: dict[int, float] = {}
    ages: list[float] = []
    async with connect(url) as socket:

        async def listen() -> None:
            while True:
                number = await _answer(socket)
                ages.append((time.perf_counter() - sent[number]) * 1000)

        listening = asyncio.create_task(listen())
        for number in range(int(SECONDS * RATE)):
            sent[number] = time.perf_counter()
            await socket.send(_frame(image, name, number))
            await asyncio.sleep(1 / RATE)
        await asyncio.sleep(0.5)
        listening.cancel()
    return len(ages), ages


async def _crowd(url: str, image: str) -> list[tuple[int, list[float]]]:
    return list(await asyncio.gather(*(_client(url, image, f"client {number}") for number in range(CLIENTS))))


def _socket(data: Path) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        relay = RelayProgram(Path(folder))
        url, image = relay.signs.replace("http", "ws") + "/ws/sign-detection", _picture(data)
        trips = asyncio.run(_trips(url, image))
        crowd = asyncio.run(_crowd(url, image))
        relay.stop()
    counts, ages = [count for count, _ in crowd], [age for _, of in crowd for age in of]
    return [
        Row("one client: frame to detection, p50", float(np.percentile(trips, 50)), "ms"),
        Row("one client: frame to detection, p95", float(np.percentile(trips, 95)), "ms", "goal", 40.0),
        Row("20 clients × 10 fps: detections in all", sum(counts) / SECONDS, "1/s"),
        Row("20 clients: fewest of a client", min(counts) / SECONDS, "1/s", "most of a client", max(counts) / SECONDS),
        Row("20 clients: age of a detection, p95", float(np.percentile(ages, 95)), "ms"),
    ]


def rows(data_dir: Path) -> list[Row]:
    return [*_socket(data_dir), *_speller(), *_letters(data_dir)]


if __name__ == "__main__":
    named = os.environ.get("HOMESIDE_DATA")
    if not named:
        sys.exit("HOMESIDE_DATA names no folder: the recordings this bench runs on are missing")
    show("Signs", rows(Path(named)))
