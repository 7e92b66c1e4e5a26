"""Two folders for releases, A and B, and two links: `current` is what runs, `trusted` the last one known to work.

The updater itself is run through `trusted`, so that a release that cannot even start cannot keep itself in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.contracts.bundle import read_bundle
from core.contracts.errors import ContractError
from core.contracts.release import Manifest
from provisioning.durable import link, remove, sync, sync_tree, write_whole
from provisioning.errors import UpdateRefused
from provisioning.updater.wheels import SITE, environment, install

NAMES = ("a", "b")
COMPLETE = "release.txt"
MODELS = "agent/vision/models"


class Slots:
    """Below `root`: slots/a, slots/b, current, trusted."""

    def __init__(self, root: Path, *, system_packages: bool) -> None:
        self._root, self._system_packages = root, system_packages
        self.current, self.trusted = root / "current", root / "trusted"

    def where(self) -> str:
        """The target of `current`."""
        try:
            return str(self.current.readlink())
        except OSError:
            raise UpdateRefused(f"{self.current} is no link: homeside install makes it") from None

    def spare(self) -> str:
        """The slot that `current` does not point to, as a link target."""
        return next(f"slots/{name}" for name in NAMES if f"slots/{name}" != self.where())

    def version(self, target: str) -> str:
        """The version in a slot, or an empty text when the slot is not complete."""
        with suppress(OSError):
            return (self._root / target / COMPLETE).read_text().strip()
        return ""

    def fill(self, target: str, bundle: Path, keys: list[Ed25519PublicKey]) -> Manifest:
        """Unpack a bundle as an environment in the slot; it counts as complete only once all of it is on disk.

        UpdateRefused when the bundle is not as signed; OSError when there is no room. In both cases nothing is left
        behind.
        """
        slot = self._root / target
        building = slot.with_name(f".{slot.name}.building")
        remove(building)
        remove(slot)
        building.mkdir(parents=True)
        try:
            manifest = self._unpack(bundle, keys, building)
            self._build(building, slot)
            write_whole(building / COMPLETE, f"{manifest.version}\n".encode())
            sync_tree(building)
            building.rename(slot)
            sync(slot.parent)
        except (OSError, UpdateRefused):
            remove(building)
            raise
        return manifest

    def turn(self, target: str) -> None:
        link(self.current, target)

    def trust(self, target: str) -> None:
        link(self.trusted, target)

    def _unpack(self, bundle: Path, keys: list[Ed25519PublicKey], building: Path) -> Manifest:
        parts = building / "parts"

        def write(name: str, chunks: Iterator[bytes]) -> None:
            path = parts / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for chunk in chunks:
                    file.write(chunk)

        try:
            with bundle.open("rb") as stream:
                return read_bundle(stream, keys, write)
        except ContractError as error:
            raise UpdateRefused(str(error)) from None

    def _build(self, building: Path, slot: Path) -> None:
        parts = building / "parts"
        environment(building, slot, system_packages=self._system_packages)
        install(sorted((parts / "wheels").glob("*.whl")), building, slot)
        models = parts / "models"
        if models.is_dir():
            target = building / SITE / MODELS
            target.mkdir(parents=True, exist_ok=True)
            for model in models.iterdir():
                model.rename(target / model.name)
        for name in ("sbom.cdx.json", "lock.txt"):
            with suppress(FileNotFoundError):
                (parts / name).rename(building / name)
        remove(parts)
