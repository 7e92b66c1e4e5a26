"""The contents of a bundle: the wheels that some extras need, the lock they come from, and a bill of materials.

The packages are determined from what is installed here, and their hashes from the lock; no network is used.
"""

from __future__ import annotations

import email.parser
import hashlib
import importlib.metadata
import json
import re
import uuid
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from packaging.markers import Marker
from packaging.requirements import Requirement

from provisioning.errors import ReleaseUnusable

OURS = "homeside"
BUILT_HERE = frozenset({"crcmod"})
"""It ships no wheel: pip builds one from the locked source, so no hash of the wheel is known in advance."""
PIN = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^ ;\\]+)(?: ; ([^\\\n]+))?")


class Wheel(NamedTuple):
    path: Path
    name: str
    version: str
    sha256: str
    licence: str


def normal(name: str) -> str:
    """A distribution's normalised name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(extras: Iterable[str]) -> set[str]:
    """Normalised names of the distributions that homeside with these extras needs here, without homeside itself."""
    found: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(OURS, tuple(extras))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, wanted = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found.add(normal(name))
        waiting += [(each.name, tuple(sorted(each.extras))) for each in _requirements(name, wanted)]
    return found - {OURS}


def _requirements(name: str, extras: tuple[str, ...]) -> Iterator[Requirement]:
    try:
        listed = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        raise ReleaseUnusable(f"{name} is not installed here, so what it needs is not known: make install") from None
    for text in listed:
        requirement = Requirement(text)
        chosen = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(requirement.marker.evaluate(each) for each in chosen):
            yield requirement


def pins(lock: str) -> dict[str, tuple[str, str]]:
    """Each pin of a lock that holds for this Python, by its normal name: its version and its text with hashes."""
    found: dict[str, tuple[str, str]] = {}
    for block in re.split(r"\n(?=\S)", lock.strip()):
        pin = PIN.match(block)
        if pin and (pin[3] is None or Marker(pin[3]).evaluate()):
            found[normal(pin[1])] = pin[2], block.rstrip() + "\n"
    return found


def lock_for(lock: str, names: Iterable[str]) -> str:
    """The lines of a lock for these packages. ReleaseUnusable names one that is not pinned."""
    known = pins(lock)
    missing = sorted(set(names) - set(known))
    if missing:
        raise ReleaseUnusable(f"not in the lock: {', '.join(missing)}. make lock resolves it anew")
    return "".join(known[name][1] for name in sorted(names))


def read_wheel(path: Path) -> Wheel:
    """A wheel's own metadata. ReleaseUnusable for a file that is no wheel."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name))
            said = email.parser.BytesHeaderParser().parsebytes(archive.read(name))
    except (OSError, zipfile.BadZipFile, StopIteration):
        raise ReleaseUnusable(f"{path} is no wheel") from None
    licence = str(said.get("License-Expression") or said.get("License") or "").splitlines()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Wheel(path, normal(str(said["Name"])), str(said["Version"]), digest, licence[0][:100] if licence else "")


def check_against(lock: str, wheels: Iterable[Wheel], names: Iterable[str]) -> None:
    """Check that every package is present once, in the locked version and with a locked hash, and nothing else but
    homeside.
    """
    known, found = pins(lock), {wheel.name: wheel for wheel in wheels}
    wanted = set(names)
    for what, odd in (("missing", wanted - set(found)), ("not needed", set(found) - wanted - {OURS})):
        if odd:
            raise ReleaseUnusable(f"wheels {what}: {', '.join(sorted(odd))}")
    if OURS not in found:
        raise ReleaseUnusable("homeside's own wheel is not among the wheels: make wheel")
    for name in sorted(wanted):
        version, text = known[name]
        if found[name].version != version:
            raise ReleaseUnusable(f"{found[name].path.name} is not {name} {version} of the lock")
        if found[name].sha256 not in text and name not in BUILT_HERE:
            raise ReleaseUnusable(f"{found[name].path.name} has no hash of the lock: it is another file")


def sbom(version: str, wheels: Iterable[Wheel]) -> dict[str, Any]:
    """The bundle's parts as CycloneDX 1.5 (ECMA-424). The serial number is derived from the parts."""
    parts = [_component(wheel) for wheel in sorted(wheels, key=lambda wheel: wheel.name) if wheel.name != OURS]
    seed = json.dumps([version, parts], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": OURS, "version": version, "bom-ref": OURS}},
        "components": parts,
        "dependencies": [{"ref": OURS, "dependsOn": [part["bom-ref"] for part in parts]}],
    }


def _component(wheel: Wheel) -> dict[str, Any]:
    address = f"pkg:pypi/{wheel.name}@{wheel.version}"
    found: dict[str, Any] = {
        "type": "library",
        "bom-ref": address,
        "name": wheel.name,
        "version": wheel.version,
        "purl": address,
        "hashes": [{"alg": "SHA-256", "content": wheel.sha256}],
    }
    if wheel.licence:
        found["licenses"] = [{"license": {"name": wheel.licence}}]
    return found
