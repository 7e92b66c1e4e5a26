"""MicroPython. The host over Bluetooth Low Energy: docs/gatt-service.md, frames cut into notifications."""

import time

import bluetooth
from micropython import const

_SERVICE = bluetooth.UUID("b5a40001-9d5e-4c1e-8a6b-686f6d657369")
_FRAMES = (bluetooth.UUID("b5a40002-9d5e-4c1e-8a6b-686f6d657369"), bluetooth.FLAG_NOTIFY)
_COMMANDS = (
    bluetooth.UUID("b5a40003-9d5e-4c1e-8a6b-686f6d657369"),
    bluetooth.FLAG_WRITE | bluetooth.FLAG_WRITE_NO_RESPONSE,
)
_CONNECTED, _DISCONNECTED, _WRITTEN, _MTU = const(1), const(2), const(3), const(21)
_SMALLEST_MTU = const(23)
_HEADER = const(3)
_ADVERTISE_US = const(100_000)
_BUFFER = const(256)


class Ble:
    """One host at a time; what is sent while nobody is connected is dropped, which the sequence numbers show."""

    def __init__(self, name):
        self._name = name.encode()
        self._radio = bluetooth.BLE()
        self._radio.active(True)
        self._radio.config(gap_name=self._name, mtu=247)
        self._radio.irq(self._event)
        ((self._frames, self._commands),) = self._radio.gatts_register_services(((_SERVICE, (_FRAMES, _COMMANDS)),))
        self._radio.gatts_set_buffer(self._commands, _BUFFER, True)
        self._connection = None
        self._mtu = _SMALLEST_MTU
        self._heard = b""
        self._advertise()

    def send(self, data):
        if self._connection is None:
            return
        room = self._mtu - _HEADER
        for at in range(0, len(data), room):
            try:
                self._radio.gatts_notify(self._connection, self._frames, bytes(data[at : at + room]))
            except OSError:
                return

    def receive(self, wait_ms):
        """The bytes received, after waiting at most `wait_ms`."""
        end = time.ticks_add(time.ticks_ms(), wait_ms)
        while not self._heard and time.ticks_diff(end, time.ticks_ms()) > 0:
            time.sleep_ms(1)
        heard, self._heard = self._heard, b""
        return heard

    def _event(self, event, data):
        if event == _CONNECTED:
            self._connection = data[0]
        elif event == _DISCONNECTED:
            self._connection, self._mtu = None, _SMALLEST_MTU
            self._advertise()
        elif event == _WRITTEN:
            self._heard += self._radio.gatts_read(self._commands)
        elif event == _MTU:
            self._mtu = data[1]

    def _advertise(self):
        """Advertise flags and our service; the name is in the scan response, since both do not fit."""
        service = bytes(_SERVICE)
        said = b"\x02\x01\x06" + bytes([len(service) + 1, 0x07]) + service
        name = bytes([len(self._name) + 1, 0x09]) + self._name
        self._radio.gap_advertise(_ADVERTISE_US, adv_data=said, resp_data=name)
