"""MicroPython. Runs `ble.py` of the reference firmware on a radio that writes down what it is told: radio.py FOLDER."""

import sys


class Uuid:
    def __init__(self, text):
        self.text = text

    def __iter__(self):
        digits = self.text.replace("-", "")
        return iter([int(digits[at : at + 2], 16) for at in range(30, -1, -2)])


class Radio:
    def __init__(self):
        self.notified, self.advertised, self.written = [], [], b""

    def active(self, on):
        pass

    def config(self, **_):
        pass

    def irq(self, handler):
        self.handler = handler

    def gatts_register_services(self, services):
        return ((1, 2),)

    def gatts_set_buffer(self, handle, size, append):
        pass

    def gatts_read(self, handle):
        data, self.written = self.written, b""
        return data

    def gatts_notify(self, connection, handle, data):
        self.notified.append(data)

    def gap_advertise(self, interval_us, adv_data, resp_data):
        self.advertised.append((adv_data, resp_data))


class bluetooth:  # noqa: N801  stands for the module of that name
    UUID, BLE = Uuid, Radio
    FLAG_NOTIFY, FLAG_WRITE, FLAG_WRITE_NO_RESPONSE = 0x10, 0x08, 0x04


sys.modules["bluetooth"] = bluetooth
sys.path.insert(0, sys.argv[1])
from ble import Ble  # noqa: E402

link = Ble("homeside-1")
radio = link._radio
link.send(b"nobody listens")
radio.handler(1, (7, 0, b""))
link.send(bytes(50))
radio.handler(21, (7, 247))
link.send(bytes(300))
radio.written = b"\0abc\0"
radio.handler(3, (7, 2))
heard = link.receive(5)
radio.handler(2, (7, 0, b""))
link.send(b"nobody listens")
print(repr([len(one) for one in radio.notified]), repr(heard), len(radio.advertised))
print(radio.advertised[0][0].hex(), radio.advertised[0][1].hex())
