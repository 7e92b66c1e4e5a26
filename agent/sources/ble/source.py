"""Keeps one Bluetooth sensor streaming: found by address, name or family, opened, read, and found again.

A link lost after samples arrived is re-established at once; any other failure ends `run`, and the supervisor tries
again. The decoder and clock are kept, so that a gap is recorded with its true length.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from agent.errors import CommandRefused, LinkLost, SensorNotFound
from agent.sections import Ble
from agent.sources import EcgReading, SensorInfo, Sink
from agent.sources.ble.radio import Link, Radio, Seen
from agent.sources.sensing import Sensing, Written
from firmware_bridge.errors import CommandError
from firmware_bridge.families import family
from firmware_bridge.gatt import BATTERY_LEVEL, Family, GattDecoder, Plan, Write

log = structlog.get_logger(__name__)

FIND_WITHIN_S = 15.0
SETTLE_S = 0.6
"""How long a scan continues after a match, to detect a second sensor with the same name."""
BATTERY_EVERY_S = 300.0
LOW_BATTERY = 15
ATT_HEADER = 3
"""Bytes of the MTU taken by the header of a write or notification (Core specification, vol. 3, part F,
3.4.5, 3.4.7)."""


class BleSource:
    """Run whenever the sensor is in reach. With `ecg`, the sensor is also asked for an electrocardiogram."""

    def __init__(self, settings: Ble, radio: Radio, *, ecg: Callable[[EcgReading], None] | None = None) -> None:
        self.name = f"ble {settings.device}"
        self._settings, self._radio, self._ecg = settings, radio, ecg
        self._seen: Seen | None = None
        self._family: Family | None = None
        self._decoder: GattDecoder | None = None
        self._sensing: Sensing | None = None
        self._link: Link | None = None
        self._battery: int | None = None
        self._mtu: int | None = None
        self._dropped = 0
        self._connections = 0
        self._rate_hz = settings.rate_hz

    async def run(self, sink: Sink) -> None:
        while True:
            before = self.samples
            try:
                await self._stream(sink)
            except LinkLost as lost:
                if self.samples == before:
                    raise
                log.warning("link_lost", sensor=self.name, reason=str(lost))

    async def set_rate(self, hz: float) -> float:
        if self._link is None or self._sensing is None or self._decoder is None:
            raise CommandRefused(f"{self._settings.device} is not connected now")
        if self._decoder.commands is not None:
            return await self._sensing.set_rate(hz)
        before = self._plan(self._decoder, self._rate_hz)
        try:
            plan = self._decoder.plan(hz, self._settings.range_g)
        except CommandError as error:
            self._decoder.plan(self._rate_hz, self._settings.range_g)
            raise CommandRefused(str(error)) from None
        try:
            for write in (*before.closing, *plan.opening):
                await self._link.write(write)
        except LinkLost as lost:
            raise CommandRefused(f"{self._settings.device}: {lost}") from None
        self._rate_hz = hz
        return hz

    async def identify(self) -> SensorInfo:
        if self._link is None or self._sensing is None or self._sensing.info is None:
            raise CommandRefused(f"{self._settings.device} is not connected now")
        if self._decoder is not None and self._decoder.commands is not None:
            return await self._sensing.identify()
        return self._sensing.info

    @property
    def samples(self) -> int:
        return self._decoder.counters.samples if self._decoder is not None else 0

    def figures(self) -> dict[str, Any]:
        seen, link = self._seen, self._link
        return {
            "device": self._settings.device,
            "family": self._family.key if self._family is not None else None,
            "address": seen.address if seen is not None else None,
            "sensor": seen.name if seen is not None else None,
            "connected": link is not None and link.is_open,
            "connections": self._connections,
            "batteryPercent": self._battery,
            "rssiDbm": seen.rssi if seen is not None else None,
            "mtu": self._mtu,
            **(self._sensing.figures() if self._sensing is not None else {"samples": 0, "lost": 0}),
            "notificationsDropped": self._dropped + (link.dropped if link is not None else 0),
        }

    async def _stream(self, sink: Sink) -> None:
        seen = await self._find()
        decoder, sensing = self._decoding(seen)
        link = await self._radio.connect(seen)
        self._link = link
        self._connections += 1
        tasks: list[asyncio.Task[None]] = []
        plan = Plan(())
        try:
            decoder.break_off()
            sensing.connected(sink, self._write if decoder.commands is not None else None)
            if decoder.commands is None or sensing.info is None:
                assert self._family is not None
                sensing.tell(SensorInfo(seen.name or seen.address, self._family.title))
            plan = self._plan(decoder, self._rate_hz)
            await self._open(link, plan)
            self._mtu = max(link.room(characteristic) for characteristic in plan.listen) + ATT_HEADER
            log.info("sensor_connected", sensor=self.name, address=seen.address, rssi=seen.rssi, mtu=self._mtu)
            tasks.append(asyncio.create_task(self._watch_battery(link)))
            if decoder.commands is not None:
                tasks.append(asyncio.create_task(sensing.converse()))
            await self._read(link, decoder, sensing, tasks)
        finally:
            sensing.disconnected()
            self._link = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await _leave(link, plan)
            self._dropped += link.dropped

    async def _read(self, link: Link, decoder: GattDecoder, sensing: Sensing, beside: list[asyncio.Task[None]]) -> None:
        while True:
            for task in beside:
                if task.done():
                    task.result()
            for characteristic, data, arrival_ns in await link.packets(self._settings.silent_after_s):
                if characteristic == BATTERY_LEVEL:
                    self._charged(data[0] if data else None)
                    continue
                for event in decoder.notified(characteristic, data, arrival_ns):
                    sensing.handle(event)

    async def _open(self, link: Link, plan: Plan) -> None:
        for characteristic in plan.listen:
            if not link.has(characteristic):
                assert self._family is not None
                raise LinkLost(f"{self._settings.device} is no {self._family.title}: it lacks {characteristic}")
            await link.listen(characteristic)
        for write in plan.opening:
            await link.write(write)

    async def _find(self) -> Seen:
        """Find the configured sensor; once found, only its address counts.

        SensorNotFound says what was seen instead.
        """

        def enough(seen: list[Seen]) -> float | None:
            if not (matches := self._matches(seen)):
                return None
            certain = self._seen is not None or matches[0].address.upper() == self._settings.device.upper()
            return 0.0 if certain else SETTLE_S

        found = await self._radio.scan(FIND_WITHIN_S, enough)
        matches = self._matches(found)
        if not matches:
            near = ", ".join(sorted({one.name or one.address for one in found if one.family is not None})) or "none"
            raise SensorNotFound(
                f"{self._settings.device} is not in reach (sensors seen: {near}). Is it worn, charged, and not "
                "connected to a phone? homeside sensors scan shows what is near."
            )
        if len(matches) > 1 and family(self._settings.device) is None:
            both = " and ".join(one.address for one in matches)
            raise SensorNotFound(f"{both} are both called {matches[0].name}: give the address of the one you mean")
        self._seen = matches[0]
        self._radio.taken.add(matches[0].address)
        return matches[0]

    def _matches(self, seen: list[Seen]) -> list[Seen]:
        """Matching devices, strongest first. A family's key means a sensor of that family that no other source has
        claimed.
        """
        wanted = self._settings.device
        if self._seen is not None:
            return [one for one in seen if one.address == self._seen.address]
        if named := [one for one in seen if one.address.upper() == wanted.upper()]:
            return named
        if family(wanted) is not None:
            free = [one for one in seen if one.address not in self._radio.taken]
            return [one for one in free if one.family is not None and one.family.key == wanted]
        return [one for one in seen if one.name == wanted]

    def _decoding(self, seen: Seen) -> tuple[GattDecoder, Sensing]:
        if self._decoder is None or self._sensing is None:
            named = family(self._settings.family) if self._settings.family is not None else None
            found = named or seen.family
            if found is None:
                raise SensorNotFound(f"{seen.name or seen.address} is of no family known here: give source.ble.family")
            if self._ecg is not None and found.with_ecg is None:
                raise SensorNotFound(f"{seen.name or seen.address} is a {found.title}, which has no electrocardiogram")
            make = found.with_ecg if self._ecg is not None and found.with_ecg is not None else found.make
            self._family, self._decoder = found, make()
            counters, tick_ns = self._decoder.counters, self._decoder.tick_ns
            self._sensing = Sensing(self.name, self._settings, counters, tick_ns, self._ecg)
        return self._decoder, self._sensing

    def _plan(self, decoder: GattDecoder, rate_hz: float | None) -> Plan:
        """The plan for the configured settings; if the family cannot do them, a warning is logged and its defaults are
        used.
        """
        try:
            return decoder.plan(rate_hz, self._settings.range_g)
        except CommandError as error:
            log.warning("sensor_refused_setting", where=self.name, reason=str(error))
            return decoder.plan(None, None)

    def _write(self, frame: bytes, written: Written | None) -> None:
        if self._link is not None and self._decoder is not None and self._decoder.commands is not None:
            self._link.send(Write(self._decoder.commands, frame, response=False), written)

    async def _watch_battery(self, link: Link) -> None:
        if link.has(BATTERY_LEVEL):
            await link.listen(BATTERY_LEVEL)
        while True:
            self._charged(await link.battery())
            await asyncio.sleep(BATTERY_EVERY_S)

    def _charged(self, percent: int | None) -> None:
        was, self._battery = self._battery, percent if percent is not None and percent <= 100 else self._battery
        if self._battery is not None and self._battery <= LOW_BATTERY and (was is None or was > LOW_BATTERY):
            log.warning("sensor_battery_low", sensor=self.name, percent=self._battery)


async def _leave(link: Link, plan: Plan) -> None:
    """Tell the sensor to stop, if it can still be reached: an H10 would otherwise measure until its
    battery is empty.
    """
    try:
        for write in plan.closing if link.is_open else ():
            await link.write(write)
    except LinkLost as lost:
        log.warning("sensor_not_stopped", reason=str(lost))
    finally:
        await link.close()
