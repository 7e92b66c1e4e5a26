"""What is spoken over GATT: our own service, and how any family of sensors is recognised, opened, read and closed.

Nothing here connects. A family's decoder says what to listen to and what to write; the transport does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from firmware_bridge.decoders import Counters, Event
from firmware_bridge.errors import CommandError

HOMESIDE_SERVICE = "b5a40001-9d5e-4c1e-8a6b-686f6d657369"
FRAMES = "b5a40002-9d5e-4c1e-8a6b-686f6d657369"
COMMANDS = "b5a40003-9d5e-4c1e-8a6b-686f6d657369"
"""Our own service (`docs/gatt-service.md`): a byte stream of frames by notification, commands by writing."""

NEAR = 0.05
"""A listed rate or range this near to the one asked for is taken, as our own boards do."""


def assigned(number: int) -> str:
    """A 16-bit assigned number as the UUID it stands for (Core specification, vol. 3, part B, 2.5.1)."""
    return f"{number:08x}-0000-1000-8000-00805f9b34fb"


BATTERY_LEVEL = assigned(0x2A19)


class Write(NamedTuple):
    """Bytes for a characteristic, by its UUID; with `response`, the device acknowledges them."""

    characteristic: str
    data: bytes
    response: bool = True


class Plan(NamedTuple):
    """What to do with a fresh connection, and before leaving it: first listen, then write the opening."""

    listen: tuple[str, ...]
    opening: tuple[Write, ...] = ()
    closing: tuple[Write, ...] = ()


class GattDecoder(Protocol):
    """One sensor's notifications into events. `tick_ns` is None for a sensor that has no clock: arrivals are fitted.

    `commands`: the characteristic that takes our own commands, for sensors that speak our protocol.
    """

    tick_ns: float | None
    commands: str | None
    counters: Counters

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        """For these settings, None being the family's own; CommandError when the family has no such rate or range."""
        ...

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        """Never raises on what a radio can bring: damage is an event, and counted."""
        ...

    def break_off(self) -> None:
        """The connection ended: forget what was begun, keep the counters."""
        ...


class Family(NamedTuple):
    """`services` in its advertisement and `names` it begins with tell it; the rest is what its sensors can do.

    `with_ecg` makes the decoder that asks for an electrocardiogram as well; None for a family that has none.
    """

    key: str
    title: str
    services: tuple[str, ...]
    names: tuple[str, ...]
    make: Callable[[], GattDecoder]
    rates_hz: tuple[float, ...] = ()
    ranges_g: tuple[float, ...] = ()
    with_ecg: Callable[[], GattDecoder] | None = None

    def knows(self, name: str | None, services: tuple[str, ...]) -> bool:
        return bool(set(self.services) & set(services)) or (name or "").startswith(self.names)


def listed(what: str, values: tuple[float, ...], asked: float | None, usual: float) -> float:
    """The listed value nearest to the one asked for, or the usual one; CommandError names the list."""
    if asked is None:
        return usual
    nearest = min(values, key=lambda value: abs(value - asked))
    if abs(nearest - asked) > NEAR * asked:
        choice = ", ".join(f"{value:g}" for value in values)
        raise CommandError(f"no {what} of {asked:g}; this sensor has {choice}")
    return nearest


def pieces(characteristic: str, data: bytes, size: int = 20) -> tuple[Write, ...]:
    """A long text in writes that fit the smallest MTU."""
    return tuple(Write(characteristic, data[at : at + size]) for at in range(0, len(data), size))
