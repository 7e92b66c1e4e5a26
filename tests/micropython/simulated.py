"""MicroPython. What `machine` is to the reference firmware in the tests: pins, SPI, I²C, and a sensor at their far end.

The chips are simulated at their registers, as the data sheets have them, with an oscillator that is a little off.
They feel the time: x is a sawtooth of eight seconds, z is 1 g, so that a sample's value tells when it was taken.
"""

import time

PERIOD_US, SPAN_G = 8_000_000, 3.0
OFF = 1.007
"""The sensor's own oscillator is 0.7 % fast."""


def felt(at_us):
    """`ticks_us` is the host's monotonic clock here, so that a test knows the truth."""
    return (at_us % PERIOD_US) / PERIOD_US * SPAN_G - SPAN_G / 2, 0.0, 1.0


class Chip:
    deepest = 32

    def __init__(self):
        self.registers = bytearray(256)
        self.fifo = []
        self.overrun = False
        self.rate_hz = 0.0
        self._next_us = 0
        self.line = None
        self._level = 0

    def begin(self, rate_hz):
        self.fifo, self.rate_hz, self.overrun = [], rate_hz, False
        self._next_us = time.ticks_add(time.ticks_us(), int(1e6 / (rate_hz * OFF)))

    def advance(self):
        """Samples that are due go into the FIFO, each as of its own time; INT1 rises with the watermark."""
        now = time.ticks_us()
        while self.rate_hz and time.ticks_diff(now, self._next_us) >= 0:
            if len(self.fifo) >= self.deepest:
                self.fifo.pop(0)
                self.overrun = True
            self.fifo.append(felt(self._next_us))
            self._next_us = time.ticks_add(self._next_us, int(1e6 / (self.rate_hz * OFF)))
        level = 1 if self.rate_hz and len(self.fifo) >= self.watermark() else 0
        if level and not self._level and self.line is not None:
            self.line()
        self._level = level
        return level


class Adxl355(Chip):
    RATES = {0: 4000.0, 1: 2000.0, 2: 1000.0, 3: 500.0, 4: 250.0, 5: 125.0, 6: 62.5}

    def watermark(self):
        return self.registers[0x29] // 3

    def write(self, register, value):
        self.registers[register] = value
        if register == 0x2D:
            if value & 1:
                self.rate_hz = 0.0
            else:
                self.begin(self.RATES[self.registers[0x28] & 0x0F])

    def read(self, register, count):
        self.advance()
        if register == 0x11:
            return self._popped()
        values = {0x00: 0xAD, 0x01: 0x1D, 0x02: 0xED, 0x04: 4 if self.overrun else 0, 0x05: 3 * len(self.fifo)}
        if register == 0x04:
            self.overrun = False
        return bytes([values.get(register + at, self.registers[register + at]) for at in range(count)])

    def _popped(self):
        full = 2.048 * (1 << ((self.registers[0x2C] & 3) - 1))
        if not self.fifo:
            return bytes([0, 0, 2] * 3)
        out = b""
        for axis, value in enumerate(self.fifo.pop(0)):
            raw = int(value / full * (1 << 19)) & 0xFFFFF
            out += bytes([raw >> 12, (raw >> 4) & 0xFF, ((raw & 0x0F) << 4) | (1 if axis == 0 else 0)])
        return out

    def spi(self, head, out):
        register = head[0] >> 1
        if head[0] & 1:
            out[1:] = self.read(register, len(out) - 1)
        else:
            self.write(register, head[1])


class Lis3dh(Chip):
    RATES = {3: 25.0, 4: 50.0, 5: 100.0, 6: 200.0, 7: 400.0}
    SCALES = (0.001, 0.002, 0.004, 0.012)

    def watermark(self):
        return (self.registers[0x2E] & 0x1F) + 1

    def write(self, register, value):
        self.registers[register] = value
        if register == 0x20 and value >> 4:
            self.begin(self.RATES[value >> 4])
        elif register == 0x20:
            self.rate_hz = 0.0
        elif register == 0x2E and not value & 0xC0:
            self.fifo = []

    def read(self, register, count):
        self.advance()
        if register == 0x28:
            scale = self.SCALES[(self.registers[0x23] >> 4) & 3]
            out = b""
            for _ in range(count // 6):
                for value in self.fifo.pop(0):
                    out += ((int(value / scale) << 4) & 0xFFFF).to_bytes(2, "little")
            self.overrun = False
            return out
        if register == 0x2F:
            return bytes([0x40 if len(self.fifo) >= 32 else len(self.fifo)])
        return bytes([0x33 if register == 0x0F else self.registers[register]])

    def spi(self, head, out):
        register = head[0] & 0x3F
        if head[0] & 0x80:
            out[1:] = self.read(register, len(out) - 1)
        else:
            self.write(register, head[1])


chip = None


class Pin:
    IN, OUT, IRQ_RISING = 0, 1, 2

    def __init__(self, number, mode=0):
        self.number = number

    def __call__(self, value=None):
        return 0

    def irq(self, handler, trigger):
        chip.line = handler

    def value(self):
        return chip.advance()


class SPI:
    def __init__(self, *_, **__):
        pass

    def write_readinto(self, head, out):
        chip.spi(head, out)

    def write(self, data):
        chip.spi(data, None)


class I2C:
    def __init__(self, *_, **__):
        pass

    def readfrom_mem(self, _address, register, count):
        return chip.read(register & 0x7F, count)

    def writeto_mem(self, _address, register, data):
        chip.write(register & 0x7F, data[0])
