"""MicroPython. Analog Devices ADXL355 by SPI or I²C: FIFO, watermark on INT1 (data sheet: registers, FIFO format)."""

import time

_ID, _PART, _ENTRIES, _FIFO = 0x00, 0x02, 0x05, 0x11
_FILTER, _WATERMARK, _MAP, _RANGE, _POWER, _RESET = 0x28, 0x29, 0x2A, 0x2C, 0x2D, 0x2F
_STATUS = 0x04
_OVERRUN = 0x04
_MARK_X, _MARK_EMPTY = 0x01, 0x02


class Adxl355:
    """`bus`: from bus.py. Samples have 20 bits, sent in the upper bits of an int32; the FIFO holds 32 samples of three
    axes.
    """

    part = "ADXL355"
    wide = True
    deepest = 28
    rates_hz = (125.0, 62.5, 250.0, 500.0, 1000.0, 2000.0, 4000.0)
    usual_hz = 125.0
    ranges_g = (2.048, 4.096, 8.192)
    _codes = {4000.0: 0, 2000.0: 1, 1000.0: 2, 500.0: 3, 250.0: 4, 125.0: 5, 62.5: 6}

    def __init__(self, bus):
        self._bus = bus
        bus.write(_RESET, 0x52)
        time.sleep_ms(5)
        found = bus.read(_ID, 3)
        if found[0] != 0xAD or found[2] != 0xED:
            raise OSError("no ADXL355 here: check the wiring, CS and the supply")

    def start(self, rate_hz, range_g, watermark):
        """Standby, configure, run; the FIFO is empty afterwards."""
        bus = self._bus
        bus.write(_POWER, 0x01)
        bus.write(_FILTER, self._codes[rate_hz])
        bus.write(_RANGE, 0x80 | (self.ranges_g.index(range_g) + 1))
        bus.write(_WATERMARK, 3 * watermark)
        bus.write(_MAP, 0x02)
        for _ in range(self.waiting()):
            bus.read(_FIFO, 9)
        bus.write(_POWER, 0x00)

    def waiting(self):
        return self._bus.read(_ENTRIES, 1)[0] // 3

    def read(self):
        """([(x, y, z)], whether samples were overwritten)."""
        overrun = bool(self._bus.read(_STATUS, 1)[0] & _OVERRUN)
        values = []
        for _ in range(self.waiting()):
            data = self._bus.read(_FIFO, 9)
            if data[2] & _MARK_EMPTY:
                break
            if not data[2] & _MARK_X:
                continue
            values.append((_signed(data, 0), _signed(data, 3), _signed(data, 6)))
        return values, overrun


def _signed(data, at):
    value = (data[at] << 24) | (data[at + 1] << 16) | ((data[at + 2] & 0xF0) << 8)
    return value - (1 << 32) if value & 0x80000000 else value
