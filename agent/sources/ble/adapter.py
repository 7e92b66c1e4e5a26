"""Turns a Bluetooth adapter off and on over D-Bus (BlueZ's `org.bluez.Adapter1`, doc/adapter-api.txt).

The last resort for a controller that no longer makes connections.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from dbus_fast.aio import MessageBus

log = structlog.get_logger(__name__)

OFF_FOR_S = 1.0
WITHIN_S = 10.0


async def power_cycle(adapter: str | None, *, off_for_s: float = OFF_FOR_S) -> None:
    """`adapter` None means hci0. A failure is only logged, because the supervisor keeps trying to connect anyway."""
    from dbus_fast import BusType  # of BlueZ's systems only: a kit elsewhere, and one without a radio, does without
    from dbus_fast.aio import MessageBus
    from dbus_fast.errors import DBusError

    path = f"/org/bluez/{adapter or 'hci0'}"
    try:
        async with asyncio.timeout(WITHIN_S + off_for_s):
            bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
            try:
                await _power(bus, path, on=False)
                await asyncio.sleep(off_for_s)
                await _power(bus, path, on=True)
            finally:
                bus.disconnect()
    except (DBusError, OSError, EOFError, TimeoutError) as error:
        log.warning("bluetooth_adapter_not_reset", adapter=path, reason=str(error) or type(error).__name__)


async def _power(bus: MessageBus, path: str, *, on: bool) -> None:
    from dbus_fast import Message, MessageType, Variant
    from dbus_fast.errors import DBusError

    reply = await bus.call(
        Message(
            destination="org.bluez",
            path=path,
            interface="org.freedesktop.DBus.Properties",
            member="Set",
            signature="ssv",
            body=["org.bluez.Adapter1", "Powered", Variant("b", on)],
        )
    )
    if reply is None or reply.message_type is MessageType.ERROR:
        raise DBusError("org.bluez.Error.Failed", str(reply.body[0]) if reply is not None and reply.body else "refused")
