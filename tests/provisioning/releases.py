"""Releases for tests: homeside's own wheel, built once from this tree, in as many versions as wanted."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.contracts.release import FORMAT, Manifest, encode_key
from provisioning.release.bundle import pack, sign
from tests.peers import REPO_ROOT

SOURCES = ("agent", "core", "firmware_bridge", "homeside.py", "provisioning", "relay")
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"the tests' key").digest())
ENTRY = "[console_scripts]\nhomeside = homeside:main\n"


@cache
def sources() -> dict[str, bytes]:
    """Every Python file of the packages, as a wheel holds them."""
    paths = [
        path
        for name in SOURCES
        for path in ([REPO_ROOT / name] if name.endswith(".py") else (REPO_ROOT / name).rglob("*.py"))
    ]
    return {path.relative_to(REPO_ROOT).as_posix(): path.read_bytes() for path in sorted(paths)}


def wheel(folder: Path, version: str, changes: dict[str, bytes] | None = None) -> Path:
    """homeside's wheel of a version; `changes` replace files in it."""
    path = folder / f"homeside-{version}-py3-none-any.whl"
    info = f"homeside-{version}.dist-info"
    files = sources() | (changes or {})
    files |= {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: homeside\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": ENTRY.encode(),
        "zz_tests.pth": f"{site_of_tests()}\n".encode(),
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
        archive.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def release(
    folder: Path,
    version: str,
    *,
    changes: dict[str, bytes] | None = None,
    key: Ed25519PrivateKey = KEY,
    **manifest: str,
) -> Path:
    """A signed bundle of one wheel."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = wheel(folder, version, changes)
    unsigned, target = folder / f"{version}.unsigned.tar", folder / f"homeside-{version}.tar"
    pack(unsigned, {f"wheels/{packed.name}": packed}, Manifest(FORMAT, version, "2026-11-21", {}, **manifest))
    sign(unsigned, target, key)
    unsigned.unlink()
    return target


def trusted(path: Path) -> Path:
    path.write_text(encode_key(KEY.public_key(), "tests") + "\n")
    return path


def site_of_tests() -> str:
    """Where this environment's packages are: a slot in a test borrows everything but homeside itself from there."""
    return next(path for path in sys.path if path.endswith("site-packages"))


def altered(bundle: Path, target: Path, change: Callable[[bytes], bytes]) -> Path:
    target.write_bytes(change(bundle.read_bytes()))
    return target
