"""MicroPython. Copy this folder to the board and set the pins in its `settings.py`; the board then measures from
power-on.

`settings.py` holds SENSOR ("adxl355" or "lis3dh"), BUS ("spi" or "i2c"), LINK ("usb" or "ble"), NAME and the pin
numbers; docs/sensors.md gives it for each wiring.
"""

import os

import machine
import settings
from board import Board

FIRMWARE = "reference 1.0"
WAIT_MS = 2
SPI_HZ = 5_000_000
I2C_HZ = 400_000


def opened_bus():
    if settings.BUS == "i2c":
        from bus import I2cBus

        i2c = machine.I2C(settings.BUS_ID, scl=machine.Pin(settings.SCL), sda=machine.Pin(settings.SDA), freq=I2C_HZ)
        st = settings.SENSOR == "lis3dh"
        return I2cBus(i2c, settings.ADDRESS, 0x80 if st else 0)
    from bus import AdxlSpi, StSpi

    spi = machine.SPI(
        settings.BUS_ID,
        baudrate=SPI_HZ,
        polarity=0,
        phase=0,
        sck=machine.Pin(settings.SCK),
        mosi=machine.Pin(settings.MOSI),
        miso=machine.Pin(settings.MISO),
    )
    select = machine.Pin(settings.CS, machine.Pin.OUT)
    return (StSpi if settings.SENSOR == "lis3dh" else AdxlSpi)(spi, select)


def opened_sensor(bus):
    if settings.SENSOR == "lis3dh":
        from lis3dh import Lis3dh

        return Lis3dh(bus)
    from adxl355 import Adxl355

    return Adxl355(bus)


def opened_link():
    if settings.LINK == "ble":
        from ble import Ble

        return Ble(settings.NAME)
    from usb import Usb

    return Usb()


def run():
    link = opened_link()
    boot = int.from_bytes(os.urandom(4), "little")
    board = Board(opened_sensor(opened_bus()), link.send, settings.NAME, FIRMWARE, boot)
    pin = machine.Pin(settings.INT1, machine.Pin.IN)
    pin.irq(board.interrupt, machine.Pin.IRQ_RISING)
    while True:
        heard = link.receive(WAIT_MS)
        if heard:
            board.heard(heard)
        if pin.value():
            board.interrupt()
        board.step()


run()
