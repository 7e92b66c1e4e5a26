"""MicroPython. ST LIS3DH by SPI or I²C: 12 bits, FIFO in stream mode, watermark on INT1. Data sheet rev. 2, AN3308."""

_WHO, _CTRL1, _CTRL3, _CTRL4, _CTRL5, _OUT, _FIFO_CTRL, _FIFO_SRC = 0x0F, 0x20, 0x22, 0x23, 0x24, 0x28, 0x2E, 0x2F
_OVERRUN = 0x40
_COUNT = 0x1F


class Lis3dh:
    """12 bits in the upper bits of an int16. Full scale is 2048 times 1, 2, 4 or 12 mg (its table of sensitivities)."""

    part = "LIS3DH"
    wide = False
    deepest = 28
    rates_hz = (100.0, 25.0, 50.0, 200.0, 400.0)
    usual_hz = 100.0
    ranges_g = (2.048, 4.096, 8.192, 24.576)
    _codes = {25.0: 3, 50.0: 4, 100.0: 5, 200.0: 6, 400.0: 7}

    def __init__(self, bus):
        self._bus = bus
        if bus.read(_WHO, 1)[0] != 0x33:
            raise OSError("no LIS3DH here: check the wiring, CS and the supply")

    def start(self, rate_hz, range_g, watermark):
        """Power down, configure, empty the FIFO by bypass mode, run."""
        bus = self._bus
        bus.write(_CTRL1, 0x07)
        bus.write(_CTRL4, 0x88 | (self.ranges_g.index(range_g) << 4))
        bus.write(_CTRL5, 0x40)
        bus.write(_FIFO_CTRL, 0x00)
        bus.write(_FIFO_CTRL, 0x80 | (watermark - 1))
        bus.write(_CTRL3, 0x04)
        bus.write(_CTRL1, (self._codes[rate_hz] << 4) | 0x07)

    def waiting(self):
        source = self._bus.read(_FIFO_SRC, 1)[0]
        return 32 if source & _OVERRUN else source & _COUNT

    def read(self):
        """([(x, y, z)], whether samples were overwritten)."""
        count = self.waiting()
        data = self._bus.read(_OUT, 6 * count) if count else b""
        values = [(_signed(data, at), _signed(data, at + 2), _signed(data, at + 4)) for at in range(0, len(data), 6)]
        return values, count == 32


def _signed(data, at):
    value = data[at] | (data[at + 1] << 8)
    return value - 65536 if value & 0x8000 else value
