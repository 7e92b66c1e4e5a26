"""What is spoken over GATT: our own service, and how a sensor family is recognised, opened, read and closed.

Nothing here connects: a family's decoder says what to listen to and what to write, and the transport does it.
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
"""A listed rate or range within this share of the requested one is accepted, as on our own boards."""


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
    """What to do on a new connection (first listen, then write `opening`), and before leaving it (`closing`)."""

    listen: tuple[str, ...]
    opening: tuple[Write, ...] = ()
    closing: tuple[Write, ...] = ()


class GattDecoder(Protocol):
    """Turns one sensor's notifications into events. `tick_ns` is None for a sensor without a clock.

    `commands`: the characteristic that takes our own commands, for sensors that speak our protocol.
    """

    tick_ns: float | None
    commands: str | None
    counters: Counters

    def plan(self, rate_hz: float | None, range_g: float | None) -> Plan:
        """The plan for these settings, None meaning the family's default;

        CommandError when it has no such rate or range.
        """
        ...

    def notified(self, characteristic: str, data: bytes, arrival_ns: int) -> list[Event]:
        """Decode a notification. Never raises on any input: damage is an event, and counted."""
        ...

    def break_off(self) -> None:
        """The connection ended: forget what was unfinished, keep the counters."""
        ...


class Family(NamedTuple):
    """Recognised by advertised `services` or the start of its name (`names`); the rest is what its sensors can do.

    `with_ecg` makes a decoder that also requests an electrocardiogram; None for a family without one.
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
    """The listed value nearest to the requested one, or the usual one;

    CommandError lists the choice if none is near.
    """
    if asked is None:
        return usual
    nearest = min(values, key=lambda value: abs(value - asked))
    if abs(nearest - asked) > NEAR * asked:
        choice = ", ".join(f"{value:g}" for value in values)
        raise CommandError(f"no {what} of {asked:g}; this sensor has {choice}")
    return nearest


def pieces(characteristic: str, data: bytes, size: int = 20) -> tuple[Write, ...]:
    """A long text split into writes that fit the smallest MTU."""
    return tuple(Write(characteristic, data[at : at + size]) for at in range(0, len(data), size))
