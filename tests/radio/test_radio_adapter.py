"""The adapter turned off and on over a real D-Bus, with an adapter of BlueZ's interface on it."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dbus_fast import BusType, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool
from dbus_fast.service import ServiceInterface, dbus_property
from structlog.testing import capture_logs

from agent.sources.ble.adapter import power_cycle
from tests.peers import find_peer

POLICY = """<busconfig><type>session</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
</policy></busconfig>"""


class Adapter1(ServiceInterface):
    def __init__(self) -> None:
        super().__init__("org.bluez.Adapter1")
        self.powered: list[bool] = [True]

    @dbus_property(access=PropertyAccess.READWRITE)
    def Powered(self) -> DBusBool:  # noqa: N802  BlueZ's name
        return self.powered[-1]

    @Powered.setter
    def Powered(self, on: DBusBool) -> None:  # noqa: N802
        self.powered.append(on)


@pytest.fixture
async def bluez(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MessageBus]:
    path = tmp_path / "bus"
    config = tmp_path / "bus.conf"
    config.write_text(POLICY.format(path=path))
    words = [find_peer("dbus-daemon", "dbus-daemon"), f"--config-file={config}", "--print-address", "--nofork"]
    daemon = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    assert daemon.stdout.readline()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={path}")
    bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    await bus.request_name("org.bluez")
    yield bus
    bus.disconnect()
    daemon.terminate()
    daemon.wait()
    daemon.stdout.close()


async def test_an_adapter_is_turned_off_and_on(bluez: MessageBus) -> None:
    adapter = Adapter1()
    bluez.export("/org/bluez/hci1", adapter)
    await power_cycle("hci1", off_for_s=0.01)
    assert adapter.powered == [True, False, True]


async def test_an_adapter_that_is_not_there_is_told(bluez: MessageBus) -> None:
    with capture_logs() as logs:
        await power_cycle(None, off_for_s=0.01)
    (told,) = logs
    assert (told["event"], told["adapter"]) == ("bluetooth_adapter_not_reset", "/org/bluez/hci0")
