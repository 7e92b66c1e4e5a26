"""Bytes as each family of sensors sends them, built from its maker's documents, and ways to spoil them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from firmware_bridge.decoders import Event, banglejs, movesense, polar, slip, thingy, witmotion
from firmware_bridge.decoders.csv_lines import CsvLines
from firmware_bridge.decoders.homeside_gatt import HomesideGatt
from firmware_bridge.gatt import FRAMES, GattDecoder
from firmware_bridge.messages import SamplesMessage
from firmware_bridge.physiology import Seismocardiogram
from firmware_bridge.simulator import SimulatedSensor

Feed = Callable[[bytes], list[Event]]
EPOCH_NS = 599_616_000_000_000_000


def polar_raw(mg: np.ndarray, stamp_ns: int) -> bytes:
    return struct.pack("<BQB", polar.ACC, stamp_ns, 1) + mg.astype("<i2").tobytes()


def polar_delta(values: np.ndarray, stamp_ns: int, form: int = 0x81, per_block: int = 20) -> bytes:
    """Reference sample, then blocks of differences in as few bits as hold them."""
    body = values[0].astype("<i2").tobytes()
    differences = np.diff(values, axis=0)
    for at in range(0, len(differences), per_block):
        block = differences[at : at + per_block]
        width = max(int(np.abs(block).max()).bit_length() + 1, 2)
        packed, bits = 0, 0
        for difference in block.reshape(-1).tolist():
            packed |= (difference & ((1 << width) - 1)) << bits
            bits += width
        body += bytes([width, len(block)]) + packed.to_bytes((bits + 7) // 8, "little")
    return struct.pack("<BQB", polar.ACC, stamp_ns, form) + body


def polar_ecg(microvolts: list[int], stamp_ns: int) -> bytes:
    return struct.pack("<BQB", polar.ECG, stamp_ns, 0) + b"".join(
        v.to_bytes(3, "little", signed=True) for v in microvolts
    )


def movesense_packet(acc: np.ndarray, stamp_ms: int, kind: int = 2) -> bytes:
    head = struct.pack("<BB", kind, movesense.REFERENCE)
    return head + (struct.pack("<I", stamp_ms) if kind == 2 else b"") + acc.astype("<f4").tobytes()


def wit_serial(kind: int, values: tuple[int, int, int]) -> bytes:
    frame = b"\x55" + bytes([kind]) + struct.pack("<4h", *values, 2500)
    return frame + bytes([sum(frame) & 0xFF])


def wit_ble(acc: tuple[int, int, int]) -> bytes:
    return b"\x55\x61" + struct.pack("<9h", *acc, *[0] * 6)


def chest(count: int, rate_hz: float, scale: float = 1000.0) -> np.ndarray:
    return np.rint(Seismocardiogram().at(np.arange(count) / rate_hz) * scale)


class Stream:
    """What one decoder is fed: `packets` true ones in order; `make` a fresh decoder, `feed` into it."""

    def __init__(
        self, packets: list[bytes], make: Callable[[], Any], feed: Callable[[Any, bytes], list[Event]]
    ) -> None:
        self.packets, self.make, self.feed = packets, make, feed


def _gatt(characteristic: str) -> Callable[[GattDecoder, bytes], list[Event]]:
    return lambda decoder, data: decoder.notified(characteristic, data, 0)


def _line(decoder: Any, data: bytes) -> list[Event]:
    return list(decoder.feed(data, 0))


def streams() -> dict[str, Stream]:
    mg = chest(36 * 20, 200.0).reshape(20, 36, 3)
    stamps = [EPOCH_NS + (n + 1) * 180_000_000 for n in range(20)]
    acc = chest(8 * 20, 208.0, 9.80665).reshape(20, 8, 3)
    texts = [f"{n * 10},{x / 1000},{y / 1000},{z / 1000}\n".encode() for n, (x, y, z) in enumerate(chest(60, 100.0))]
    raw = [(int(x), int(y), int(z)) for x, y, z in chest(40, 100.0, 2048)]
    delta = [polar_delta(block.astype(int), stamp) for block, stamp in zip(mg, stamps, strict=True)]
    answers = [bytes([0xF0, 2, 2, 0, 0, 5, 1]) + struct.pack("<f", 0.5), bytes([0xF0, 3, 2, 0, 0])]
    board = SimulatedSensor(Seismocardiogram(), 100.0)
    ours = board.advance(2_000_000_000)
    payloads = [
        SamplesMessage(7, n * 40_000, n * 4, 10_000_000, 100.0, 4.0, np.zeros((4, 3), np.int16)) for n in range(9)
    ]
    return {
        "homeside": Stream([ours[at : at + 100] for at in range(0, len(ours), 100)], HomesideGatt, _gatt(FRAMES)),
        "slip": Stream([slip.encode(one.pack()) for one in payloads], slip.HomesideSlip, _line),
        "polar raw": Stream(
            [polar_raw(*pair) for pair in zip(mg, stamps, strict=True)], polar.Polar, _gatt(polar.DATA)
        ),
        "polar delta": Stream([*delta, polar_ecg([1, -2, 3], stamps[0])], polar.Polar, _gatt(polar.DATA)),
        "polar control": Stream(answers, polar.Polar, _gatt(polar.CONTROL)),
        "movesense": Stream(
            [
                *(movesense_packet(block, 500 + n * 38) for n, block in enumerate(acc)),
                movesense_packet(acc[0], 0, 3),
                struct.pack("<BBH", 1, movesense.REFERENCE, 200),
            ],
            movesense.Movesense,
            _gatt(movesense.DATA),
        ),
        "witmotion ble": Stream([wit_ble(one) for one in raw], witmotion.WitMotionBle, _gatt(witmotion.NOTIFY)),
        "witmotion serial": Stream(
            [wit_serial(0x51, one) + wit_serial(0x52, one) for one in raw], witmotion.WitMotionSerial, _line
        ),
        "thingy": Stream([struct.pack("<9h", *one, *[0] * 6) for one in raw], thingy.Thingy, _gatt(thingy.RAW)),
        "bangle.js": Stream(texts, banglejs.BangleJs, _gatt(banglejs.TRANSMIT)),
        "csv": Stream(texts, CsvLines, _line),
    }


def spoiled(packets: list[bytes], rng: np.random.Generator) -> Iterator[bytes]:
    """For ever: true packets, packets with bytes changed, cut, doubled or joined, and noise."""
    while True:
        packet = bytearray(packets[int(rng.integers(len(packets)))])
        kind = int(rng.integers(8))
        if kind < 3 and packet:
            for at in rng.integers(0, len(packet), int(rng.integers(1, 4))):
                packet[int(at)] = int(rng.integers(256))
        elif kind == 3:
            packet = packet[: int(rng.integers(len(packet) + 1))]
        elif kind == 4:
            packet += packets[int(rng.integers(len(packets)))]
        elif kind == 5:
            packet = bytearray(rng.bytes(int(rng.integers(0, 250))))
        elif kind == 6 and packet:
            packet = packet[: min(2, len(packet))] + bytearray(rng.bytes(int(rng.integers(0, 60))))
        yield bytes(packet)
