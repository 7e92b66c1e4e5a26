"""A million fuzzed frames: nothing but events comes out, nothing grows, no whole frame is overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from firmware_bridge import commands
from firmware_bridge.decoders import Event, Pong
from firmware_bridge.decoders.homeside_serial import HomesideSerial, _steps_us
from firmware_bridge.errors import Damage
from firmware_bridge.faults import Faults
from firmware_bridge.framing import MAX_ENCODED, Damaged, Splitter, encode
from firmware_bridge.messages import PongMessage
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import Board, SimulatedSensor

FRAMES = 1_000_000
MARK = 1 << 31
"""Token and times of the whole frames hidden in the noise, whose own pongs have times below."""


def _true_bytes() -> np.ndarray:
    """Every kind of frame a board sends, of both widths and several rates, as one array of bytes."""
    said = b""
    for bits, rate_hz in ((16, 50.0), (20, 50.0), (16, 100.0), (16, 250.0)):
        board = SimulatedSensor(Seismocardiogram(), rate_hz, board=Board(bits=bits))
        for step in range(1, 40):
            asked = commands.ping(step) + commands.identify() + commands.set_range(2.0)
            said += board.receive(asked, step * 100_000_000)
    return np.frombuffer(said, np.uint8)


def _mutated(true: np.ndarray, rng: np.random.Generator) -> bytes:
    """Some bytes of each second frame or so changed, some lost, some doubled, the middle cut out or put elsewhere."""
    bytes_ = true.copy()
    hit = rng.random(len(bytes_)) < rng.choice([0.002, 0.02])
    bytes_[hit] = rng.integers(0, 256, int(hit.sum()), dtype=np.uint8)
    times = rng.choice([0, 1, 2], len(bytes_), p=[0.002, 0.996, 0.002])
    return np.roll(np.repeat(bytes_, times), int(rng.integers(len(bytes_)))).tobytes()


def _noise(payloads: list[bytes], rng: np.random.Generator) -> bytes:
    """Random bytes rich in delimiters, firmware at fault (sealed, yet wrong), and a stretch with no delimiter."""
    loose = rng.integers(0, 256, 20_000, dtype=np.uint8)
    loose[rng.random(len(loose)) < 0.06] = 0
    sealed = b"".join(encode(_wrong(payloads[int(rng.integers(len(payloads)))], rng)) for _ in range(400))
    return loose.tobytes() + sealed + b"\xa5" * int(rng.integers(1, 3 * MAX_ENCODED))


def _wrong(payload: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(payload[: int(rng.integers(1, len(payload) + 1))] if rng.random() < 0.2 else payload)
    changed[int(rng.integers(min(40, len(changed))))] = int(rng.integers(256))
    return bytes(changed)


def _stream(rng: np.random.Generator) -> Iterator[bytes]:
    """Noise in pieces of any size, each followed by a whole frame with the next mark."""
    true, mark = _true_bytes(), MARK
    payloads = [payload for payload in Splitter().feed(true.tobytes()) if isinstance(payload, bytes)]
    while True:
        noise = _noise(payloads, rng) if rng.random() < 0.5 else _mutated(true, rng)
        cuts = np.sort(rng.integers(0, len(noise), 50)).tolist()
        for start, end in pairwise([0, *cuts, len(noise)]):
            yield noise[start:end] + encode(PongMessage(mark, mark, mark).pack())
            mark += 1


def test_a_million_fuzzed_frames() -> None:
    decoder, rng = HomesideSerial(), np.random.default_rng(2026)
    seen: dict[type[Event], int] = {}
    marks, frames = MARK, 0
    for fed, piece in enumerate(_stream(rng), start=1):
        for event in decoder.feed(piece, fed):
            seen[type(event)] = seen.get(type(event), 0) + 1
            if isinstance(event, Pong) and event.token == event.sent_us >= MARK:
                assert event.token == marks
                marks += 1
            frames += 1
        assert marks == MARK + fed
        assert len(decoder._splitter._rest) <= MAX_ENCODED
        if frames >= FRAMES:
            break
    assert len(seen) == 5
    assert seen[Damaged] == sum(decoder.counters.damaged.values()) > FRAMES / 4
    assert set(decoder.counters.damaged) == set(Damage)
    assert _steps_us.cache_info().currsize <= 64


def test_a_board_fed_a_hundred_thousand_fuzzed_commands() -> None:
    rng = np.random.default_rng(7)
    board = SimulatedSensor(Seismocardiogram(), 25.0, faults=Faults(loss=0.1, bit_errors=1e-4))
    asked = b"".join(
        make for hz in (25, 100, 400) for make in (commands.set_rate(hz), commands.ping(hz), commands.identify())
    )
    true = np.frombuffer(asked * 120, np.uint8)
    decoder, done = HomesideSerial(), 0
    while done < 100_000:
        decoder.feed(board.receive(_mutated(true, rng), done * 1_000_000), 0)
        done = board.truth.commands + board.truth.commands_damaged
    assert board.truth.commands_damaged > 1000
    assert decoder.counters.samples <= board.truth.intact + 165
