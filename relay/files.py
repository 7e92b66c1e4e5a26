"""Files that are there whole or not at all: a half-written key after a power cut would stop the next start."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes, mode: int) -> None:
    """Replace `path` in one step, its bytes on disk before its name; nobody else reads them meanwhile."""
    _written(path, data, mode).replace(path)
    _sync(path.parent)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """The same, but a file that is there stays as it is: of two programs that begin at once, one's is kept."""
    fresh = _written(path, data, mode)
    try:
        os.link(fresh, path)
    except FileExistsError:
        return
    finally:
        fresh.unlink()
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
