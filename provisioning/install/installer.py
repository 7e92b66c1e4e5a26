"""Installs step by step, recording each step on disk before it is taken, so that it can be completed or undone.

Every file is replaced in one step, and what was there before is kept. Undoing goes backwards and restores it. Stored
data, keys and users of kits and relays are never touched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from provisioning.durable import link, remove, write_whole
from provisioning.errors import InstallFailed
from provisioning.install.layout import RECORD, ROOT, Wanted

ASIDE = ".before-homeside"


class Record(msgspec.Struct):
    """What was begun, by path below the root in order of creation; for files, the hashes of what we wrote."""

    files: dict[str, list[str]] = {}
    links: list[str] = []


class Installer:
    """For the machine whose root folder is `root`; `reached` is called with each step."""

    def __init__(self, root: Path, reached: Callable[[str], None] = lambda _: None) -> None:
        self._root, self._reached = root, reached
        self._record_path = root / RECORD

    def install(self, wanted: Wanted) -> list[str]:
        """Install; returns what was changed, nothing when all is in place.

        InstallFailed when the machine does not allow it.
        """
        changed: list[str] = []
        try:
            for name, data in {**wanted.settings, **wanted.files}.items():
                if self._file(name, data, keep=name in wanted.settings):
                    changed.append(name)
            for name, target in wanted.links.items():
                if self._link(name, target):
                    changed.append(name)
        except OSError as error:
            raise InstallFailed(f"{error.filename}: {error.strerror}; run it again as root, or --undo") from None
        return changed

    def undo(self) -> list[str]:
        """Undo; returns what was removed or restored. Settings changed since then are kept."""
        record = self._record()
        undone: list[str] = []
        try:
            for name in reversed(record.links):
                remove(self._root / name)
                self._reached(f"unlinked {name}")
                undone.append(name)
            for name, ours in reversed(record.files.items()):
                self._give_back(self._root / name, ours)
                self._reached(f"gave back {name}")
                undone.append(name)
            remove(self._record_path)
        except OSError as error:
            raise InstallFailed(f"{error.filename}: {error.strerror}; run it again as root") from None
        return undone

    def _file(self, name: str, data: bytes, *, keep: bool) -> bool:
        path = self._root / name
        if path.exists() and (keep or path.read_bytes() == data):
            return False
        self._note(name, hashlib.sha256(data).hexdigest())
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(path.name + ASIDE)
        if path.exists() and not aside.exists():
            write_whole(aside, path.read_bytes())
            self._reached(f"kept {name}")
        write_whole(path, data)
        self._reached(f"wrote {name}")
        return True

    def _link(self, name: str, target: str) -> bool:
        """Create a link. One that already leads to a slot belongs to an update, which is newer, and is kept."""
        path = self._root / name
        if path.is_symlink() and (str(path.readlink()) == target or str(path.readlink()).startswith("slots/")):
            return False
        self._note(name)
        (self._root / ROOT / "slots").mkdir(parents=True, exist_ok=True)
        link(path, target)
        self._reached(f"linked {name}")
        return True

    def _give_back(self, path: Path, ours: list[str]) -> None:
        """Remove what we wrote and restore what was there before; files changed by others since are kept."""
        aside = path.with_name(path.name + ASIDE)
        if aside.exists():
            aside.replace(path)
        elif path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() in ours:
            remove(path)

    def _note(self, name: str, digest: str = "") -> None:
        record = self._record()
        known = record.files.setdefault(name, []) if digest else record.links
        if (digest or name) not in known:
            known.append(digest or name)
            self._record_path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._record_path, msgspec.json.encode(record))
            self._reached(f"noted {name}")

    def _record(self) -> Record:
        try:
            return msgspec.json.decode(self._record_path.read_bytes(), type=Record)
        except FileNotFoundError:
            return Record()
        except msgspec.MsgspecError as error:
            raise InstallFailed(f"{self._record_path} cannot be read: {error}") from None
