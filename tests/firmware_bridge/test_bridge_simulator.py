"""The simulated board says what a real one would, obeys, and its counts of loss are the decoder's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge import commands
from firmware_bridge.decoders import Event, Identity, Pong, Reply, Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.errors import BridgeError, SimulationError
from firmware_bridge.faults import Faults, Line
from firmware_bridge.framing import encode
from firmware_bridge.physiology import Floats, Seismocardiogram
from firmware_bridge.protocol import Kind, ReplyCode
from firmware_bridge.simulator import MAX_BACKLOG_NS, Board, SimulatedSensor

S = 1_000_000_000
QUIET = Board(noise_ug=0.0)


class Ramp:
    """x tells the true time in s, so that every sample shows when it was taken."""

    def at(self, t_s: Floats) -> Floats:
        return np.column_stack((t_s / 64, np.zeros_like(t_s), np.ones_like(t_s)))

    def take_beats(self, until_s: float) -> list[float]:
        return []

    def take_movements(self, until_s: float) -> list[tuple[float, float]]:
        return []


def _samples(events: list[Event]) -> list[Samples]:
    return [event for event in events if isinstance(event, Samples)]


@pytest.mark.parametrize("rate_hz", [1.0, 62.5, 98.7, 100.0, 1666.0, 4000.0])
@pytest.mark.parametrize("bits", [16, 20])
def test_every_sample_once_at_its_time(rate_hz: float, bits: int) -> None:
    board = SimulatedSensor(Ramp(), rate_hz, 2.0, board=Board(noise_ug=0.0, bits=bits))
    decoder = HomesideSerial()
    packets = _samples(
        [event for step in range(0, 5001, 7) for event in decoder.feed(board.advance(step * S // 1000), 0)]
    )
    ticks = np.concatenate([packet.ticks for packet in packets])
    told = np.concatenate([packet.acc_g[:, 0] for packet in packets]) * 64e6
    assert len(ticks) == decoder.counters.samples == board.truth.taken == board.truth.intact
    assert decoder.counters.lost == 0
    assert np.all(np.abs(np.diff(ticks) - 1e6 / rate_hz) <= 1)
    resolution_us = 64e6 * 2 / (1 << (bits - 1))
    assert np.abs(told - ticks).max() <= resolution_us / 2 + 1
    assert 5 - ticks[-1] / 1e6 < 0.05 + 2 / rate_hz


def test_bytes_do_not_depend_on_how_time_is_cut() -> None:
    one, many = (SimulatedSensor(Ramp(), 250.0, board=QUIET) for _ in range(2))
    whole = one.advance(3 * S)
    assert b"".join(many.advance(t) for t in (1, S // 3, S, S, 2 * S + 17, 3 * S)) == whole


def test_next_frame_is_there_when_it_says_and_not_before() -> None:
    board = SimulatedSensor(Ramp(), 98.7, board=Board(drift_ppm=-300.0))
    board.advance(0)
    for _ in range(50):
        due = board.next_frame_ns()
        assert board.advance(due - 100) == b""
        assert len(_samples(HomesideSerial().feed(board.advance(due), 0))) == 1


def test_drift_is_the_boards_clock_against_true_time() -> None:
    board = SimulatedSensor(Ramp(), 100.0, board=Board(noise_ug=0.0, drift_ppm=1000.0, bits=20))
    last = _samples(HomesideSerial().feed(board.advance(9 * S), 0))[-1]
    true_s = last.acc_g[-1, 0] * 64
    assert last.ticks[-1] / 1e6 / true_s == pytest.approx(1.001, abs=6e-5)


def test_identity_comes_first_and_again_when_asked() -> None:
    board, decoder = SimulatedSensor(Ramp(), 98.7, 3.0), HomesideSerial()
    first = decoder.feed(board.advance(S), 0)[0]
    assert isinstance(first, Identity)
    assert 98.7 in [round(hz, 4) for hz in first.rates_hz]
    assert 3.0 in first.ranges_g
    assert decoder.feed(board.receive(commands.identify(), S), 0) == [first]


def test_set_rate_changes_the_rate_and_loses_nothing() -> None:
    board, decoder = SimulatedSensor(Ramp(), 100.0, board=QUIET), HomesideSerial()
    events = decoder.feed(board.advance(S), 0)
    events += decoder.feed(board.receive(commands.set_rate(990), S + S // 3), 0)
    assert Reply(Kind.SET_RATE, ok=True, code=0, value=1000.0) in events
    after = decoder.feed(board.advance(3 * S), 0)
    assert {packet.rate_hz for packet in _samples(after)} == {1000.0}
    packets = _samples(events + after)
    assert all(np.diff(np.concatenate([packet.ticks for packet in packets])) > 0)
    assert sum(len(packet.ticks) for packet in packets) == decoder.counters.samples == board.truth.taken
    assert decoder.counters.lost == 0


def test_set_range_changes_where_the_sensor_clips() -> None:
    class Kick(Ramp):
        def at(self, t_s: Floats) -> Floats:
            return np.full((len(t_s), 3), 5.0)

    board, decoder = SimulatedSensor(Kick(), 100.0, 2.0, board=QUIET), HomesideSerial()
    before = _samples(decoder.feed(board.advance(S), 0))
    assert Reply(Kind.SET_RANGE, ok=True, code=0, value=8.0) in decoder.feed(board.receive(commands.set_range(8), S), 0)
    after = _samples(decoder.feed(board.advance(2 * S), 0))
    assert before[0].acc_g.max() == pytest.approx(2.0, abs=1e-4)
    assert after[0].acc_g.max() == pytest.approx(5.0, abs=1e-3)


@pytest.mark.parametrize("asked", [commands.set_rate(3000), commands.set_range(12)])
def test_what_the_board_cannot_do_it_refuses(asked: bytes) -> None:
    board, decoder = SimulatedSensor(Ramp(), 100.0, 4.0), HomesideSerial()
    decoder.feed(board.advance(0), 0)
    [reply] = decoder.feed(board.receive(asked, 1), 0)
    assert isinstance(reply, Reply)
    assert (reply.ok, reply.code) == (False, ReplyCode.UNSUPPORTED_VALUE)
    assert reply.value in (100.0, 4.0)
    assert (board.rate_hz, board.range_g) == (100.0, 4.0)


def test_commands_in_any_split_and_amid_noise() -> None:
    board, decoder = SimulatedSensor(Ramp(), 1.0), HomesideSerial()
    decoder.feed(board.advance(0), 0)
    sent = b"\xff\xff" + commands.ping(9) + encode(b"\x01\x99") + b"\x05\x05\0" + encode(b"\x01\x84\0")
    said = b"".join(board.receive(sent[i : i + 1], 2_000_000) for i in range(len(sent)))
    assert decoder.feed(said, 5) == [
        Pong(9, 2000, 2000, 5),
        Reply(0x99, ok=False, code=ReplyCode.UNKNOWN_COMMAND, value=0.0),
    ]
    assert (board.truth.commands, board.truth.commands_damaged) == (1, 3)


def test_a_ping_tells_the_boards_clock() -> None:
    board = SimulatedSensor(Ramp(), 100.0, board=Board(drift_ppm=500.0))
    board.restart(3 * S)
    [*_, pong] = HomesideSerial().feed(board.receive(commands.ping(1), 13 * S), 13 * S + 80_000)
    assert isinstance(pong, Pong)
    assert pong.device_us == pytest.approx(10_005_000, abs=1)
    assert pong.round_trip_ns(13 * S - 20_000) == 100_000


@settings(max_examples=30)
@given(st.floats(0, 0.5), st.floats(1, 20), st.integers(0, 10_000), st.sampled_from([25.0, 100.0, 1000.0]))
def test_the_decoder_counts_exactly_what_the_line_lost(loss: float, burst: float, seed: int, rate_hz: float) -> None:
    board = SimulatedSensor(Ramp(), rate_hz, seed=seed, faults=Faults(loss=loss, burst=burst))
    decoder = HomesideSerial()
    packets = _samples(decoder.feed(board.advance(9 * S), 0))
    if packets:
        received = sum(len(packet.ticks) for packet in packets)
        assert received == board.truth.intact
        last = packets[-1].seq + len(packets[-1].ticks)
        assert decoder.counters.lost == last - packets[0].seq - received


def test_bit_errors_are_found_and_counted_as_loss() -> None:
    board = SimulatedSensor(Seismocardiogram(), 1000.0, seed=4, faults=Faults(bit_errors=2e-4))
    decoder = HomesideSerial()
    for step in range(1, 61):
        decoder.feed(board.advance(step * S), 0)
    assert board.line.damaged > 100
    assert sum(decoder.counters.damaged.values()) > 100
    assert decoder.counters.samples == board.truth.intact
    assert (
        board.truth.taken - board.truth.intact - 200 <= decoder.counters.lost <= board.truth.taken - board.truth.intact
    )


def test_restart_begins_clock_counter_and_setting_anew() -> None:
    board, decoder = SimulatedSensor(Ramp(), 100.0, seed=1), HomesideSerial()
    decoder.feed(board.advance(S), 0)
    decoder.feed(board.receive(commands.set_rate(1000), S), 0)
    board.restart(2 * S)
    events = decoder.feed(board.advance(3 * S), 0)
    assert isinstance(events[0], Identity)
    first = _samples(events)[0]
    assert (first.seq, first.lost, first.rate_hz, first.ticks[0]) == (0, 0, 100.0, 10_000)
    assert decoder.counters.restarts == board.truth.restarts == 1
    assert decoder.counters.samples == board.truth.intact
    assert board.truth.unsent == board.truth.taken - board.truth.intact > 0


def test_a_board_not_read_for_long_says_how_much_is_gone() -> None:
    board, decoder = SimulatedSensor(Ramp(), 100.0), HomesideSerial()
    decoder.feed(board.advance(S), 0)
    decoder.feed(board.advance(3601 * S), 0)
    assert decoder.counters.lost == board.truth.unsent == pytest.approx(359_000, abs=10)
    assert decoder.counters.samples == board.truth.intact == pytest.approx(MAX_BACKLOG_NS / S * 100 + 100, abs=10)


@given(st.lists(st.binary(max_size=300), max_size=20), st.integers(0, 5))
@settings(max_examples=50)
def test_no_noise_upsets_the_board(noise: list[bytes], seed: int) -> None:
    board = SimulatedSensor(Ramp(), 25.0, seed=seed)
    for number, data in enumerate(noise):
        board.receive(data + encode(b"\x01\x81" + data[:4].ljust(4, b"\xc0")), number * S)
    assert board.advance(30 * S)


def test_the_same_seed_is_the_same_board() -> None:
    def run(seed: int) -> bytes:
        faults = Faults(loss=0.1, burst=3, bit_errors=1e-4)
        return SimulatedSensor(Seismocardiogram(seed=seed), 100.0, seed=seed, faults=faults).advance(9 * S)

    assert run(7) == run(7) != run(8)


def test_bursts_are_as_long_and_loss_as_great_as_asked() -> None:
    line = Line(Faults(loss=0.2, burst=5), np.random.default_rng(1))
    lost = np.array([not line.carry(b"frame") for _ in range(100_000)])
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], lost, [0])))))[::2]
    assert lost.mean() == pytest.approx(0.2, abs=0.02)
    assert runs.mean() == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Faults(loss=1.0),
        lambda: Faults(loss=0.8, burst=2),
        lambda: Faults(bit_errors=0.5),
        lambda: SimulatedSensor(Ramp(), 0.0),
        lambda: SimulatedSensor(Ramp(), float("nan")),
        lambda: SimulatedSensor(Ramp(), 100.0, -1.0),
        lambda: Board(bits=12),
        lambda: Board(drift_ppm=1e6),
        lambda: Board(frame_ms=0),
    ],
)
def test_boards_that_cannot_be_are_refused(make: object) -> None:
    assert callable(make)
    with pytest.raises(SimulationError) as caught:
        make()
    assert isinstance(caught.value, BridgeError)
