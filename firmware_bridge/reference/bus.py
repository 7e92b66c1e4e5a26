"""MicroPython. Registers of a sensor by SPI or I²C, as its data sheet addresses them."""


class AdxlSpi:
    """Address first, shifted by one; the lowest bit reads. The address advances by itself, except at the FIFO."""

    def __init__(self, spi, select):
        self._spi, self._select = spi, select
        select(1)

    def read(self, register, count):
        out = bytearray(count + 1)
        head = bytearray(count + 1)
        head[0] = (register << 1) | 1
        self._select(0)
        self._spi.write_readinto(head, out)
        self._select(1)
        return out[1:]

    def write(self, register, value):
        self._select(0)
        self._spi.write(bytes([register << 1, value]))
        self._select(1)


class StSpi(AdxlSpi):
    """Bit 7 reads, bit 6 advances to the next register."""

    def read(self, register, count):
        out = bytearray(count + 1)
        head = bytearray(count + 1)
        head[0] = register | 0xC0
        self._select(0)
        self._spi.write_readinto(head, out)
        self._select(1)
        return out[1:]

    def write(self, register, value):
        self._select(0)
        self._spi.write(bytes([register, value]))
        self._select(1)


class I2cBus:
    """`goes_on`: bits added to the address to read several registers (0x80 for ST, none for Analog Devices)."""

    def __init__(self, i2c, address, goes_on=0):
        self._i2c, self._address, self._goes_on = i2c, address, goes_on

    def read(self, register, count):
        return self._i2c.readfrom_mem(self._address, register | (self._goes_on if count > 1 else 0), count)

    def write(self, register, value):
        self._i2c.writeto_mem(self._address, register, bytes([value]))
