"""The decoder: times and g as the device meant them, and loss counted to the sample."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.decoders import Identity, Pong, Reply, Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.errors import Damage
from firmware_bridge.framing import Damaged, encode
from firmware_bridge.messages import IdentityMessage, PongMessage, ReplyMessage, SamplesMessage


def test_samples_in_g_at_the_devices_own_ticks() -> None:
    raw = np.array([[-32768, 0, 16384], [1, 2, 3]], dtype=np.int16)
    [found] = HomesideSerial().feed(_frame(0, raw=raw, period_ns=333_333, first_us=50), 99)
    assert isinstance(found, Samples)
    assert found.ticks.tolist() == [50, 383]
    assert found.acc_g[0].tolist() == [-4.0, 0.0, 2.0]
    assert (found.rate_hz, found.range_g, found.lost, found.arrival_ns) == (100.0, 4.0, 0, 99)


def test_twenty_bits_keep_their_resolution() -> None:
    raw = np.array([[1 << 12, -(1 << 31), 1 << 30]], dtype=np.int32)
    [found] = HomesideSerial().feed(_frame(0, raw=raw), 0)
    assert isinstance(found, Samples)
    assert found.acc_g[0].tolist() == [4.0 / (1 << 19), -4.0, 2.0]


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(1, 165), st.booleans()), min_size=1))
def test_lost_is_exact_across_any_hole_and_the_counters_end(start: int, frames: list[tuple[int, bool]]) -> None:
    decoder, seq, missing, sent = HomesideSerial(), start, 0, 0
    decoder.feed(_frame(seq, count=1), 0)
    seq += 1
    for count, arrives in frames:
        if arrives:
            [found] = decoder.feed(_frame(seq % 2**32, count=count), 0)
            assert isinstance(found, Samples)
            assert found.lost == missing
            missing = 0
            sent += count
        else:
            missing += count
        seq += count
    assert decoder.counters.samples == sent + 1
    assert decoder.counters.lost == seq - start - 1 - sent - missing


def test_a_new_boot_counts_from_its_own_zero() -> None:
    decoder = HomesideSerial()
    decoder.feed(_frame(1000, count=10, boot=1), 0)
    [found] = decoder.feed(_frame(7, boot=2), 0)
    assert isinstance(found, Samples)
    assert (found.lost, decoder.counters.restarts) == (7, 1)


def test_a_counter_gone_back_without_a_new_boot_invents_no_loss() -> None:
    decoder = HomesideSerial()
    decoder.feed(_frame(1000, count=10), 0)
    [found] = decoder.feed(_frame(900), 0)
    assert isinstance(found, Samples)
    assert (found.lost, decoder.counters.restarts) == (0, 1)
    [after] = decoder.feed(_frame(901), 0)
    assert isinstance(after, Samples)
    assert after.lost == 0


def test_a_hole_over_an_unplugged_cable_is_counted() -> None:
    decoder = HomesideSerial()
    decoder.feed(_frame(0, count=5) + _frame(5)[:20], 0)
    decoder.break_off()
    [found] = decoder.feed(_frame(105), 0)
    assert isinstance(found, Samples)
    assert (found.lost, decoder.counters.damaged) == (100, {})


def test_answers() -> None:
    sent = [
        IdentityMessage("kit", "1.2", "ADXL355", (100.0,), (2.0, 4.0)),
        PongMessage(5, 1000, 1400),
        ReplyMessage(0x81, 0, 200.0),
        ReplyMessage(0x82, 200, 2.0),
    ]
    found = HomesideSerial().feed(b"".join(encode(message.pack()) for message in sent), 77)
    assert found == [
        Identity("kit", "1.2", "ADXL355", 1000.0, (100.0,), (2.0, 4.0)),
        Pong(5, 1000, 1400, 77),
        Reply(0x81, ok=True, code=0, value=200.0),
        Reply(0x82, ok=False, code=200, value=2.0),
    ]


@given(
    st.integers(0, 10**15),
    st.integers(-(10**12), 10**12),
    *[st.integers(0, 10**9).map(lambda us: us * 1000)] * 3,
)
def test_two_way_ping_finds_delay_and_offset(sent: int, offset: int, there: int, inside: int, back: int) -> None:
    received_us = (sent + there + offset) // 1000
    pong = Pong(1, received_us, received_us + inside // 1000, sent + there + inside + back)
    assert pong.round_trip_ns(sent) == there + back
    assert abs(pong.offset_ns(sent) - offset) <= (there + back) / 2 + 1000


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"\x01\x7fzzz", Damage.KIND), (b"\x09\x01", Damage.VERSION), (b"\x01\x01", Damage.LENGTH)],
)
def test_whole_frames_without_meaning_are_damage_too(payload: bytes, reason: Damage) -> None:
    decoder = HomesideSerial()
    assert decoder.feed(encode(payload) + b"\x09\x09\0", 0) == [
        Damaged(reason, payload),
        Damaged(Damage.NOT_COBS, b"\x09\x09"),
    ]
    assert decoder.counters.damaged == {reason: 1, Damage.NOT_COBS: 1}
    assert decoder.counters.frames == 0


def _frame(
    seq: int,
    *,
    count: int = 1,
    boot: int = 1,
    raw: np.ndarray | None = None,
    period_ns: int = 10_000_000,
    first_us: int = 0,
) -> bytes:
    values = np.zeros((count, 3), np.int16) if raw is None else raw
    return encode(SamplesMessage(boot, first_us, seq, period_ns, 100.0, 4.0, values).pack())
