"""Files written completely or not at all: a half-written key after a power cut would prevent the next start.

And the lock on the relay's data folder.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import BinaryIO, TextIO

from relay.errors import SettingsError


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Replace `path` atomically, with its bytes synced before the rename; until then nobody else can read them."""
    _written(path, data, mode).replace(path)
    _sync(path.parent)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Like `write_whole`, but an existing file is kept: of two programs that start at once, one file wins."""
    fresh = _written(path, data, mode)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()
    _sync(path.parent)


def copy_new(path: Path, source: BinaryIO, mode: int) -> None:
    """Copy `source` to a new file, completely or not at all; leftovers of an interrupted copy are overwritten.

    Raises FileExistsError if the file exists.
    """
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        os.link(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
    _sync(path.parent)


def _written(path: Path, data: bytes, mode: int) -> Path:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return fresh


def _sync(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def made_folder(folder: Path) -> Path:
    """Create the folder if needed, readable by its owner only. Raises SettingsError if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unusable(folder, error) from None
    return folder


def relays_folder(folder: Path) -> Path:
    """A relay's data folder, for a command that works beside it. Raises SettingsError if there is none; it is not
    created.
    """
    if not folder.is_dir():
        raise SettingsError(f"{folder} is no relay's data folder: start the relay once, or give its folder (--data)")
    return folder


def _unusable(folder: Path, error: OSError) -> SettingsError:
    text = f"{folder} cannot be used for data: {error.strerror}. Choose a folder that can be written (--data)"
    return SettingsError(text)


def hold(folder: Path, *, alone: bool) -> TextIO:
    """Lock the folder until the program ends or closes the returned file; with `alone`, for this program only.

    SettingsError says why that fails. Relays of a cluster may share a folder, since their database is elsewhere.
    """
    try:
        lock = (made_folder(folder) / "relay.lock").open("a")
        if alone:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SettingsError(
            f"another relay runs on {folder}: end it, or give this one a folder of its own (--data)"
        ) from None
    except OSError as error:
        raise _unusable(folder, error) from None
    return lock
