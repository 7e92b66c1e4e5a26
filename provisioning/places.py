"""Where a demonstration runs: two ports on this machine's loopback, and a folder of its own.

A conflict is reported at once, with the option that chooses another, rather than by a program that fails later.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from provisioning.errors import FolderUnusable, PlaceTaken

HOST = "127.0.0.1"
USUAL_MQTT_PORT = 1883
USUAL_FOLDER = Path(".demo")


def is_free(port: int) -> bool:
    """Whether a program could listen on `port` now; closed connections in TIME_WAIT do not matter."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def choose_ports(port: int, mqtt_port: int | None) -> tuple[int, int]:
    """The ports to use; if the broker's usual one is taken, a free one. PlaceTaken says how to choose others."""
    for wanted, option in ((port, "--port"), (mqtt_port, "--mqtt-port")):
        if wanted and not is_free(wanted):
            other = next((near for near in range(wanted + 10, wanted + 100, 10) if is_free(near)), free_port())
            raise PlaceTaken(
                f"Port {wanted} on {HOST} is in use by another program. End that one, or choose another port:\n"
                f"  homeside demo {option} {other}\n"
                f"  make demo DEMO='{option} {other}'"
            )
    if mqtt_port is None:
        mqtt_port = USUAL_MQTT_PORT if is_free(USUAL_MQTT_PORT) else 0
    return port or free_port(), mqtt_port or free_port()


def choose_folder(wanted: Path | None) -> Path:
    """The given folder; by default .demo, or a new temporary folder where that cannot be written."""
    folder = wanted or USUAL_FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder.resolve()
    except OSError as error:
        if wanted is not None:
            raise FolderUnusable(
                f"{wanted} cannot be written: {error.strerror}. Choose another folder with --data."
            ) from None
    return Path(tempfile.mkdtemp(prefix="homeside-demo-"))


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Lock the folder against a second demonstration; PlaceTaken when another holds it."""
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PlaceTaken(
                f"Another demonstration uses {folder}. End it, or give this one its own: --data FOLDER"
            ) from None
        yield
