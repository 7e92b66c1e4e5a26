"""A recording played back is the recording: its samples at its times, over and over."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from core.contracts.recordings import STANDARD_GRAVITY, Recording, parse_recording
from firmware_bridge.decoders import Samples
from firmware_bridge.decoders.homeside_serial import HomesideSerial
from firmware_bridge.errors import SimulationError
from firmware_bridge.playback import Playback
from firmware_bridge.simulator import SimulatedSensor

DATA = os.environ.get("HOMESIDE_DATA")
real = pytest.mark.skipif(not DATA, reason="HOMESIDE_DATA is not set: no real recordings here")


def _recording(t_ms: list[float], z: list[float]) -> Recording:
    xyz = np.column_stack([np.full(len(z), np.nan), np.zeros(len(z)), z])
    return Recording(np.array(t_ms, dtype=float), xyz * STANDARD_GRAVITY, "m/s2", 100.0)


def test_every_sample_at_its_time_in_every_round() -> None:
    signal = Playback(_recording([1000, 1010, 1020, 1030], [1.0, 3.0, 2.0, 5.0]))
    found = signal.at(np.array([0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07]))
    assert found[:, 2] == pytest.approx([1, 3, 2, 5, 1, 3, 5])
    assert not found[:, :2].any()


def test_order_and_duplicates_are_put_right() -> None:
    signal = Playback(_recording([0, 20, 10, 10, 30], [1.0, 3.0, 2.0, 2.0, 4.0]))
    assert signal.at(np.arange(4) / 100)[:, 2] == pytest.approx([1, 2, 3, 4])


def test_stamps_of_packets_are_played_at_the_mean_rate() -> None:
    signal = Playback(_recording([50] * 5 + [100] * 5, list(range(10))))
    assert signal.at(np.arange(10) / 100)[:, 2] == pytest.approx(np.arange(10))


def test_missing_values_are_bridged() -> None:
    signal = Playback(_recording([0, 10, 20, 30], [np.nan, 1.0, np.nan, 3.0]))
    assert signal.at(np.arange(4) / 100)[:, 2] == pytest.approx([1, 1, 2, 3])
    with pytest.raises(SimulationError):
        Playback(_recording([0, 10, 20, 30], [np.nan, 1.0, np.nan, np.nan]))


@real
@pytest.mark.parametrize("name", ["openscg/measurement_3.json", "mscardio/s0067r001.csv.gz"])
def test_a_real_recording_comes_out_of_the_board_as_it_went_in(name: str) -> None:
    path = Path(str(DATA)) / "scg" / name
    recording = parse_recording(path.read_bytes(), path.name)
    board = SimulatedSensor(Playback(recording), recording.sampling_rate_hz, 4.0)
    events = HomesideSerial().feed(board.advance(9_000_000_000), 0)
    packets = [event for event in events if isinstance(event, Samples)]
    t = np.concatenate([packet.ticks for packet in packets]) / 1e6
    z = np.concatenate([packet.acc_g[:, 2] for packet in packets])
    there = recording.t_ms / 1000 - recording.t_ms[0] / 1000
    expected = np.interp(t, there, recording.xyz[:, 2] / STANDARD_GRAVITY)
    assert np.std(z - expected) < 0.2 * np.std(expected)
    assert np.corrcoef(z, expected)[0, 1] > 0.99
