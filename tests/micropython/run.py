"""MicroPython. Runs the reference firmware, unchanged, on a simulated sensor: run.py FIRMWARE_FOLDER SENSOR BUS.

`settings.py` of a board, and its `machine`, are made here; standard input and output are the pseudo-terminal.
"""

import sys

import simulated

folder, sensor, bus = sys.argv[1:4]
sys.path.insert(0, folder)
simulated.chip = simulated.Lis3dh() if sensor == "lis3dh" else simulated.Adxl355()
sys.modules["machine"] = simulated


class settings:  # noqa: N801  stands for the module of that name
    SENSOR, BUS, LINK, NAME = sensor, bus, "usb", "bench-" + sensor
    BUS_ID, SCK, MOSI, MISO, CS, SCL, SDA, INT1, ADDRESS = 0, 2, 3, 4, 5, 1, 0, 6, 0x1D


sys.modules["settings"] = settings
import main  # noqa: E402, F401  it runs
