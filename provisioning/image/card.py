"""Writes a kit's files onto a boot partition: completely or not at all, and reported as done only once
all are on disk.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from provisioning.durable import sync, write_whole
from provisioning.errors import ImageUnusable
from provisioning.image.files import FOLDER, boot_files, command_line
from provisioning.image.plan import Plan

SECRET = ("enrol.toml", "wifi.nmconnection", "user-data", "network-config")


def write_card(boot: Path, plan: Plan, package: Path | None, *, mounted: bool) -> None:
    """Make the partition mounted at `boot` (or a folder to be copied onto one) this kit's.

    A mounted one must be Pi OS's. ImageUnusable says that it is not, or what could not be written.
    """
    line = boot / "cmdline.txt"
    if mounted and not line.is_file():
        raise ImageUnusable(f"{boot} has no cmdline.txt: it is not the boot partition of Raspberry Pi OS")
    try:
        (boot / FOLDER).mkdir(parents=True, exist_ok=True)
        if package is not None:
            shutil.copyfile(package, boot / FOLDER / package.name)
        for name, text in boot_files(plan).items():
            path = boot / name
            write_whole(path, text.encode(), 0o600 if path.name in SECRET else 0o755 if path.suffix == ".sh" else 0o644)
        if line.is_file():
            write_whole(line, command_line(line.read_text()).encode())
        sync(boot)
    except OSError as error:
        raise ImageUnusable(f"{boot} cannot be written: {error.strerror}") from None
