"""Firmware updates through MCUmgr's SMP, against a board with MCUboot's rules on a line and on the virtual radio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent.errors import UpdateFailed
from agent.sensors import firmware
from agent.sensors.firmware import Updater, Way
from agent.sensors.smp_link import LinkTransport
from agent.sources.ble.radio import Radio
from firmware_bridge.mcuboot import parse_image
from tests.radio.air import Air
from tests.radio.peripherals import PolarH10
from tests.radio.smp_server import Board, BoardOnALine, SmpPeripheral, made_image

Reach = Callable[[Board], "AsyncIterator[Way]"]
NEW = made_image((1, 1, 0))


@asynccontextmanager
async def reached(kind: str, board: Board, folder: Path) -> AsyncIterator[Way]:
    if kind == "line":
        line = BoardOnALine(board, folder)
        yield Way.over_serial(str(line.path), 115_200)
        line.close()
        return
    async with Air() as air, SmpPeripheral(air, board) as sensor:
        yield Way(sensor.name, LinkTransport(Radio(scanner=air.scanner_backend, client=air.client_backend)))


@pytest.fixture(autouse=True)
def _brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "PAUSE_S", 0.05)
    monkeypatch.setattr(firmware, "ANSWER_WITHIN_S", 3.0)


@pytest.mark.parametrize("kind", ["line", "radio"])
async def test_128_kib_with_a_cut_in_the_middle(kind: str, tmp_path: Path) -> None:
    board, shares = Board(), list[float]()
    board.cut_at = 64 * 1024
    async with reached(kind, board, tmp_path) as way:
        updater = Updater(way, shares.append)
        (before,) = await updater.images()
        assert (before.version, before.flags) == ("1.0.0", ("active", "confirmed"))
        slots = await updater.update(NEW)
        again = await updater.update(NEW)
    assert [(one.version, one.flags) for one in slots] == [("1.1.0", ("active", "confirmed")), ("1.0.0", ())]
    assert again == slots, "what runs already is not sent again"
    assert updater.cuts == 1
    assert board.resets == 1
    assert board.slots[0] == NEW
    assert shares == sorted(shares), "it went on where it was cut off"
    assert shares[-1] == 1.0


@pytest.mark.parametrize("kind", ["line", "radio"])
async def test_firmware_that_does_not_come_up_is_taken_back(kind: str, tmp_path: Path) -> None:
    board = Board()
    async with reached(kind, board, tmp_path) as way:
        with pytest.raises(UpdateFailed, match=r"did not come up: 1\.0\.0 runs again"):
            await Updater(way, lambda _: None).update(made_image((2, 0, 0), 8192, comes_up=False))
        (active, *_) = await Updater(way, lambda _: None).images()
    assert active.version == "1.0.0"
    assert "active" in active.flags


async def test_a_trial_is_kept_only_when_confirmed(tmp_path: Path) -> None:
    board, image = Board(), made_image((1, 2, 0), 8192)
    async with reached("line", board, tmp_path) as way:
        updater = Updater(way, lambda _: None)
        slots = await updater.update(image, reset=False)
        assert [one.flags for one in slots] == [("active", "confirmed"), ("pending",)]
        board.boot()
        assert [one.flags for one in await updater.images()] == [("active",), ()]
        board.boot()
        assert (await updater.images())[0].version == "1.0.0", "MCUboot went back"
        await updater.update(image, reset=False)
        board.boot()
        assert (await updater.confirm())[0].flags == ("active", "confirmed")
        board.boot()
        assert (await updater.images())[0].version == "1.2.0"


async def test_a_board_that_dies_for_good_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(firmware, "TRIES", 2)
    monkeypatch.setattr(firmware, "CONNECT_WITHIN_S", 0.5)
    board = Board()
    async with reached("line", board, tmp_path) as way:
        handle = board.handle
        board.handle = lambda request: handle(request) if board.requests < 6 else None  # type: ignore[method-assign]
        with pytest.raises(UpdateFailed, match="breaks off again and again"):
            await Updater(way, lambda _: None).update(NEW)
    with pytest.raises(UpdateFailed, match="does not answer"):
        await Updater(Way.over_serial(str(tmp_path / "absent"), 115_200), lambda _: None).images()


async def test_a_sensor_that_takes_no_firmware_says_so(air: Air, radio: Radio) -> None:
    async with PolarH10(air, "Polar H10 1"):
        with pytest.raises(UpdateFailed, match="takes no firmware over the air"):
            await Updater(Way("Polar H10 1", LinkTransport(radio)), lambda _: None).images()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (b"", "0 bytes"),
        (b"\x7fELF" + bytes(100), "begins with 7f454c46"),
        (NEW[:-1] + b"x", "damaged"),
        (NEW[:5000], "ends too soon"),
        (NEW.replace(b"runs", b"ruin"), "damaged"),
    ],
)
async def test_what_is_no_image_is_not_sent(image: bytes, said: str, tmp_path: Path) -> None:
    board = Board()
    async with reached("line", board, tmp_path) as way:
        with pytest.raises(UpdateFailed, match=said):
            await Updater(way, lambda _: None).update(image)
    assert board.requests == 0


def test_an_image_is_known_by_its_version_and_digest() -> None:
    image = parse_image(NEW)
    assert image.version == "1.1.0"
    assert image.digest == NEW[-32:]
