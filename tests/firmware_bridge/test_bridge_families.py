"""Each family's decoder against its maker's documents, an independent decoder where there is one, and against noise."""

from __future__ import annotations

import re
import struct
import tomllib
from typing import get_args

import numpy as np
import pytest
from polar_python.constants import PmdMeasurementType
from polar_python.models.acc_data import ACCData
from polar_python.models.ecg_data import ECGData
from polar_python.models.pmd_data_frame import PmdDataFrame

from agent.sections import Ble, Dialect
from agent.sensors.__main__ import sensors_app
from agent.settings import AgentSettings
from firmware_bridge import commands
from firmware_bridge.decoders import Ecg, Reply, Samples, banglejs, movesense, polar, slip, thingy, witmotion
from firmware_bridge.decoders.csv_lines import CsvLines
from firmware_bridge.errors import CommandError, Damage
from firmware_bridge.families import DIALECTS, FAMILIES, recognised
from firmware_bridge.framing import Damaged
from firmware_bridge.gatt import COMMANDS, FRAMES, HOMESIDE_SERVICE
from firmware_bridge.messages import SamplesMessage
from firmware_bridge.spacing import Spacing
from tests.firmware_bridge import captures
from tests.peers import REPO_ROOT

DOCS = REPO_ROOT / "docs"

FUZZED, SOAKED = 100_000, 1_000_000
NAMES = sorted(captures.streams())


def fuzz(name: str, packets: int) -> None:
    """Nothing but events comes out, what holds samples holds finite ones, and a whole packet is still understood."""
    stream, rng = captures.streams()[name], np.random.default_rng(2026)
    decoder, spoiled = stream.make(), captures.spoiled(stream.packets, rng)
    damaged = 0
    for _ in range(packets):
        for event in stream.feed(decoder, next(spoiled)):
            if isinstance(event, Samples):
                assert np.isfinite(event.acc_g).all()
                assert event.acc_g.shape == (len(event.ticks), 3)
                assert len(event.ticks)
                assert event.lost >= 0
            damaged += isinstance(event, Damaged)
    assert damaged == sum(decoder.counters.damaged.values()) > packets / 20
    decoder.break_off()
    after = [event for packet in stream.packets for event in stream.feed(decoder, packet)]
    assert any(isinstance(event, Samples | Reply) for event in after)


@pytest.mark.parametrize("name", NAMES)
def test_fuzzed_packets(name: str) -> None:
    fuzz(name, FUZZED)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_million_fuzzed_packets(name: str) -> None:
    fuzz(name, SOAKED)


@pytest.mark.parametrize("form", ["raw", "delta"])
def test_polar_frames_as_polar_python_reads_them(form: str) -> None:
    make = captures.polar_raw if form == "raw" else captures.polar_delta
    rng, decoder = np.random.default_rng(5), polar.Polar()
    for number in range(200):
        mg = np.cumsum(rng.integers(-40, 40, (36, 3)), axis=0) + rng.integers(-3000, 3000, 3)
        frame = make(mg, captures.EPOCH_NS + number * 180_000_000)
        (event,) = decoder.notified(polar.DATA, frame, number)
        theirs = ACCData.from_dataframe(PmdDataFrame.from_bytes(bytearray(frame), lambda _: 1.0))
        assert isinstance(event, Samples)
        assert np.rint(event.acc_g * 1000).astype(int).tolist() == [list(row) for row in theirs.data] == mg.tolist()
        assert int(event.ticks[-1]) + 946_684_800_000_000_000 == theirs.timestamp
    assert decoder.counters.samples == 7200


def test_polar_ecg_as_polar_python_reads_it() -> None:
    microvolts = [0, 1, -1, 8_388_607, -8_388_608, 1234, -4321]
    frame = captures.polar_ecg(microvolts, captures.EPOCH_NS)
    decoder = polar.Polar(ecg=True)
    (event,) = decoder.notified(polar.DATA, frame, 0)
    theirs = ECGData.from_dataframe(PmdDataFrame.from_bytes(bytearray(frame), lambda _: 1.0))
    assert isinstance(event, Ecg)
    assert event.microvolts.tolist() == theirs.data == microvolts
    assert PmdMeasurementType(frame[0]).name == "ECG"
    assert [write.data[:2] for write in decoder.plan(None, None).opening] == [b"\3\2", b"\2\2", b"\3\0", b"\2\0"]


def test_polar_is_asked_as_its_document_says() -> None:
    plan = polar.Polar().plan(200, 8)
    assert plan.opening[1].data == bytes.fromhex("02 02 00 01 c8 00 01 01 10 00 02 01 08 00")
    assert plan.closing == (plan.opening[0],)
    assert plan.closing[0].data == b"\3\2"
    with pytest.raises(CommandError, match="no rate of 400; this sensor has 25, 50, 100, 200"):
        polar.Polar().plan(400, None)


def test_polar_factor_of_a_device_that_sends_g() -> None:
    decoder = polar.Polar()
    answer = bytes([0xF0, 2, 2, 0, 0, 5, 1]) + struct.pack("<f", 2.44e-4)
    (reply,) = decoder.notified(polar.CONTROL, answer, 0)
    assert isinstance(reply, Reply)
    assert reply.ok
    frame = captures.polar_delta(np.full((5, 3), 4098), captures.EPOCH_NS, form=0x80)
    (event,) = decoder.notified(polar.DATA, frame, 0)
    assert isinstance(event, Samples)
    assert event.acc_g == pytest.approx(np.full((5, 3), 1.0), abs=1e-4)


def test_a_lost_frame_is_counted_by_the_clock_and_a_clock_set_back_is_a_restart() -> None:
    decoder, mg = polar.Polar(), np.zeros((36, 3))
    for number in (1, 2, 3, 6, 7):
        (event,) = decoder.notified(polar.DATA, captures.polar_raw(mg, captures.EPOCH_NS + number * 180_000_000), 0)
        assert isinstance(event, Samples)
        assert event.lost == (72 if number == 6 else 0)
        assert np.diff(event.ticks) == pytest.approx(5_000_000, abs=2)
    (event,) = decoder.notified(polar.DATA, captures.polar_raw(mg, captures.EPOCH_NS), 0)
    assert isinstance(event, Samples)
    assert (event.lost, decoder.counters.lost, decoder.counters.restarts) == (0, 72, 1)


def test_movesense_milliseconds_become_the_grid_they_were_rounded_from() -> None:
    """A sensor 0.4 % fast at 208 Hz: its stamps are whole ms, off the truth by up to one; the ticks are not."""
    decoder, true_us = movesense.Movesense(), 1e6 / (208 * 1.004)
    off = []
    for number in range(400):
        first_us = 250_000 + number * 8 * true_us
        (event,) = decoder.notified(
            movesense.DATA, captures.movesense_packet(np.zeros((8, 3)), int(first_us / 1000)), 0
        )
        assert isinstance(event, Samples)
        off += (event.ticks - (first_us + np.arange(8) * true_us)).tolist()
    later = np.array(off[1600:])
    assert decoder.counters.lost == 0
    assert np.std(later) < 200, "µs; the stamps themselves spread by 290"
    assert -1000 < np.median(later) < 0


@pytest.mark.parametrize("rate_hz", movesense.RATES_HZ)
def test_movesense_rates_lose_nothing_and_miss_nothing(rate_hz: float) -> None:
    decoder = movesense.Movesense()
    (_, write) = decoder.plan(rate_hz, None).opening
    assert write.data == b"\x01\x63" + f"/Meas/Acc/{rate_hz:g}".encode()
    lost = 0
    for number in [*range(300), *range(310, 600)]:
        stamp = int(number * 8 * 1000 / rate_hz)
        (event,) = decoder.notified(movesense.DATA, captures.movesense_packet(np.zeros((8, 3)), stamp), 0)
        assert isinstance(event, Samples)
        lost += event.lost
    assert lost == pytest.approx(80, abs=1 + rate_hz / 1000)


def test_a_movesense_packet_in_two_notifications() -> None:
    decoder, acc = movesense.Movesense(), np.arange(48.0).reshape(16, 3)
    whole = captures.movesense_packet(acc, 1000)
    first, second = whole[:106], bytes([3, movesense.REFERENCE]) + whole[106:]
    events = decoder.notified(movesense.DATA, first, 0) + decoder.notified(movesense.DATA, second, 1)
    values = np.concatenate([event.acc_g for event in events if isinstance(event, Samples)])
    assert values * 9.80665 == pytest.approx(acc, abs=1e-5)
    assert decoder.counters.lost == 0


def test_witmotion_on_a_line_between_other_frames_and_noise() -> None:
    decoder = witmotion.WitMotionSerial(100.0)
    good = captures.wit_serial(0x51, (100, -200, 2048)) + captures.wit_serial(0x53, (1, 2, 3))
    broken = bytearray(captures.wit_serial(0x51, (7, 7, 7)))
    broken[4] ^= 0x10
    data = b"\x00\x55" + good + bytes(broken) + good * 3
    events = [event for at in range(len(data)) for event in decoder.feed(data[at : at + 1], at)]
    values = [row for event in events if isinstance(event, Samples) for row in event.acc_g.tolist()]
    assert values == [pytest.approx([100 / 2048, -200 / 2048, 1.0])] * 4
    assert sum(decoder.counters.damaged.values()) >= 1


def test_witmotion_over_the_air_is_set_and_read() -> None:
    decoder = witmotion.WitMotionBle()
    assert [write.data.hex() for write in decoder.plan(200, None).opening] == ["ffaa6988b5", "ffaa030b00", "ffaa000000"]
    (event,) = decoder.notified(witmotion.NOTIFY, captures.wit_ble((0, 0, 2048)) * 2, 0)
    assert isinstance(event, Samples)
    assert event.acc_g.tolist() == [[0, 0, 1]] * 2
    assert (event.ticks.tolist(), event.rate_hz) == ([0, 1], 200)


def test_thingy_is_set_and_read() -> None:
    decoder = thingy.Thingy()
    assert decoder.plan(200, None).opening[0].data.hex() == "f401f401f401c80000"
    (event,) = decoder.notified(thingy.RAW, struct.pack("<9h", 512, -1024, 2048, *[9] * 6), 0)
    assert isinstance(event, Samples)
    assert event.acc_g.tolist() == [[0.5, -1.0, 2.0]]


def test_bangle_gets_one_line_of_javascript_in_small_writes() -> None:
    decoder = banglejs.BangleJs()
    writes = decoder.plan(100, None).opening
    program = b"".join(write.data for write in writes)
    assert max(len(write.data) for write in writes) <= 20
    assert program.startswith(b"\x03\x10")
    assert program.endswith(b"\n")
    assert b"setPollInterval(10)" in program
    events = [e for part in (b"12.0,0.1,", b"0.2,0.9\r\n22.0,0.1,0.2,1.0\r\n") for e in decoder.notified("", part, 0)]
    assert [event.ticks.tolist() for event in events if isinstance(event, Samples)] == [[12_000], [22_000]]


@pytest.mark.parametrize(
    ("decoder", "text", "acc_g"),
    [
        (CsvLines(), b"1000,0.1,0.2,0.9\n1010,0.1,0.2,0.9\n", [[0.1, 0.2, 0.9]] * 2),
        (CsvLines(unit_ns=1e3), b"1000;0;0;1\r\n11000;0;0;1\r\n", [[0, 0, 1]] * 2),
        (CsvLines(metric=True), b"5\t0\t0\t9.80665\n", [[0, 0, 1]]),
        (CsvLines(timed=False), b"0.5 -0.5 0.1\n", [[0.5, -0.5, 0.1]]),
    ],
)
def test_lines_of_numbers(decoder: CsvLines, text: bytes, acc_g: list[list[float]]) -> None:
    events = [event for at in range(0, len(text), 3) for event in decoder.feed(text[at : at + 3], 0)]
    assert [row for event in events if isinstance(event, Samples) for row in event.acc_g.tolist()] == [
        pytest.approx(row) for row in acc_g
    ]


@pytest.mark.parametrize(
    ("line", "damage"),
    [
        (b"t,x,y,z\n", Damage.KIND),
        (b"1,2,3\n", Damage.LENGTH),
        (b"1,nan,0,1\n", Damage.VALUE),
        (b"1,1e9,0,1\n", Damage.VALUE),
        (b"1" * 300, Damage.TOO_LONG),
    ],
)
def test_lines_that_are_none(line: bytes, damage: Damage) -> None:
    decoder = CsvLines()
    (event,) = decoder.feed(line, 0)
    assert isinstance(event, Damaged)
    assert event.reason is damage
    assert decoder.feed(b"\n1,0,0,1\n" if b"\n" not in line else b"1,0,0,1\n", 0)


def test_our_payloads_in_slip_frames() -> None:
    decoder = slip.HomesideSlip()
    raw = np.array([[192, 219, 220], [0xC0DB, -1, 221]], np.int32)
    message = SamplesMessage(0xC0DBC0DB, 5, 0, 10_000_000, 100.0, 4.0, raw)
    for part in (slip.encode(message.pack()), slip.reframed(commands.ping(0xDBDCC0C0))):
        assert set(part[1:-1]).isdisjoint({0xC0})
    (event,) = decoder.feed(slip.encode(message.pack()), 0)
    assert isinstance(event, Samples)
    assert np.rint(event.acc_g * (1 << 31) / 4).astype(int).tolist() == raw.tolist()
    assert slip.decode(slip.reframed(commands.ping(7))[1:-1]) == bytes.fromhex("018407000000")


def test_spacing_tells_a_gap_from_jitter() -> None:
    spacing = Spacing(10.0)
    assert spacing.place(100.0, 5).ticks.tolist() == [60, 70, 80, 90, 100]
    assert spacing.place(151.0, 5).lost == 0
    placed = spacing.place(252.0, 5)
    assert (placed.lost, placed.ticks.tolist()) == (5, [212, 222, 232, 242, 252])
    assert spacing.place(10.0, 1).restarted


def test_families_are_told_apart_by_what_they_advertise() -> None:
    assert len({family.key for family in FAMILIES}) == len(FAMILIES)
    for family in FAMILIES:
        for service in family.services:
            assert recognised(None, (service,)) is family
        for name in family.names:
            assert recognised(name + "x", ()) is family
        decoder = family.make()
        assert decoder.plan(None, None).listen
        for rate_hz in family.rates_hz:
            decoder.plan(rate_hz, None)
    assert recognised("Fridge", ("0000180f-0000-1000-8000-00805f9b34fb",)) is None


def test_the_documents_say_what_the_code_does() -> None:
    service = (DOCS / "gatt-service.md").read_text("utf-8")
    assert [uuid in service for uuid in (HOMESIDE_SERVICE, FRAMES, COMMANDS)] == [True] * 3
    table = (DOCS / "sensors.md").read_text("utf-8")
    for family in FAMILIES:
        (row,) = [line for line in table.splitlines() if f"| `{family.key}` |" in line]
        said = row.split("|")[3]
        numbers = {float(word) for word in said.split() if word[0].isdigit()}
        assert numbers <= set(family.rates_hz), row
        assert not family.rates_hz or {min(family.rates_hz), max(family.rates_hz)} <= numbers
    for dialect in set(DIALECTS) - {"homeside"}:
        assert f"{dialect}`" in table, dialect
    (example,) = re.findall(r"```toml\n(.*?)```", table, re.DOTALL)
    settings = AgentSettings.model_validate({"kit": "k", **tomllib.loads(example)})
    assert [one.family for one in settings.source.ble] == [None, "homeside"]
    keys = {one.key for one in FAMILIES}
    assert keys == set(get_args(get_args(Ble.model_fields["family"].annotation)[0]))
    assert set(DIALECTS) == set(get_args(Dialect))
    named = {one.name or one.callback.__name__ for one in sensors_app.registered_commands if one.callback is not None}
    assert set(re.findall(r"homeside sensors (\w+)", table)) <= named


def test_the_boards_settings_in_the_document_are_whole() -> None:
    """The one a person copies: every name `main.py` of the reference firmware asks for is in it."""
    (example,) = re.findall(r"```python\n(.*?)```", (DOCS / "sensors.md").read_text("utf-8"), re.DOTALL)
    given = {name for line in example.splitlines() for name in line.split("=")[0].replace(",", " ").split()}
    firmware = (REPO_ROOT / "firmware_bridge" / "reference" / "main.py").read_text("utf-8")
    assert set(re.findall(r"settings\.([A-Z_0-9]+)", firmware)) <= given
