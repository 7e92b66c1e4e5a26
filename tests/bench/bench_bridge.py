"""How fast our serial frames are decoded, compared with the bare minimum: splitting at zeros,
cobs.decode and CRC-32.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable

from cobs import cobs

from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import SimulatedSensor
from tests.bench.rows import Row, show

READ = 4096
ROUNDS = 5


def rows() -> list[Row]:
    found = []
    for rate_hz, seconds in ((100.0, 60), (4000.0, 10)):
        stream = _stream(rate_hz, seconds)
        ours, bare = _frames_per_s(_decode, stream), _frames_per_s(_bare, stream)
        found.append(Row(f"serial frames decoded, {rate_hz:g} Hz", ours, "frames/s", "bare cobs + CRC-32", bare))
    samples = _stream(4000.0, 10)
    began = time.perf_counter()
    decoder = HomesideSerial()
    _decode(samples, decoder)
    took = time.perf_counter() - began
    found.append(Row("serial samples decoded, 4000 Hz", decoder.counters.samples / took, "samples/s", "goal", 4000))
    return found


def _stream(rate_hz: float, seconds: int) -> bytes:
    board = SimulatedSensor(Seismocardiogram(), rate_hz)
    return b"".join(board.advance(second * 1_000_000_000) for second in range(seconds + 1))


def _decode(stream: bytes, decoder: HomesideSerial | None = None) -> int:
    decoder = decoder or HomesideSerial()
    for start in range(0, len(stream), READ):
        decoder.feed(stream[start : start + READ], start)
    return decoder.counters.frames


def _bare(stream: bytes) -> int:
    frames, rest = 0, b""
    for start in range(0, len(stream), READ):
        *whole, rest = (rest + stream[start : start + READ]).split(b"\0")
        for part in whole:
            if part:
                payload = cobs.decode(part)
                frames += zlib.crc32(payload[:-4]) == int.from_bytes(payload[-4:], "little")
    return frames


def _frames_per_s(decode: Callable[[bytes], int], stream: bytes) -> float:
    """The best of some rounds: the machine is shared."""
    best = 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        frames = decode(stream)
        best = max(best, frames / (time.perf_counter() - began))
    return best


if __name__ == "__main__":
    show("Serial bridge", rows())
