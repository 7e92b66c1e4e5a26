"""Installs wheels into an environment without pip: an update on a kit needs no installer, compiler or network.

A wheel is a zip file whose member names say where its files belong ("The wheel binary package format", PyPA). That it
is the right wheel has been settled by the signature of its bundle.
"""

from __future__ import annotations

import re
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from provisioning.errors import UpdateRefused

SITE = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
SCRIPT = """#!{python} -I
import sys
from {module} import {name}
sys.exit({call}())
"""
_ENTRY = re.compile(r"([\w.-]+)\s*=\s*([\w.]+)\s*:\s*([\w.]+)(?:\s*\[.*\])?")


def environment(folder: Path, runs_at: Path, *, system_packages: bool, python: Path | None = None) -> Path:
    """Create an empty virtual environment in `folder` to be used at `runs_at` (PEP 405); returns its package folder.

    `python` is the interpreter it is based on, by default ours.
    """
    python = python or Path(sys.executable).resolve()
    (folder / "bin").mkdir(parents=True)
    for name in ("python3", "python", python.name):
        link = folder / "bin" / name
        if not link.is_symlink():
            link.symlink_to(python)
    seen = str(system_packages).lower()
    version = ".".join(map(str, sys.version_info[:3]))
    text = f"home = {python.parent}\ninclude-system-site-packages = {seen}\nversion = {version}\n"
    (folder / "pyvenv.cfg").write_text(text + f"command = homeside updater, for {runs_at}\n")
    site = folder / SITE
    site.mkdir(parents=True)
    return site


def install(wheels: Iterable[Path], folder: Path, runs_at: Path) -> None:
    """Install the wheels into the environment `folder`, which will be used at `runs_at`."""
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.infolist():
                    if not member.is_dir():
                        _lay(archive, member, folder, wheel.name)
        except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError) as error:
            raise UpdateRefused(f"{wheel.name} is no wheel: {error}") from None
    for entries in (folder / SITE).glob("*.dist-info/entry_points.txt"):
        _scripts(entries, folder / "bin", runs_at / "bin" / "python3")


def _lay(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, wheel: str) -> None:
    target = _place(PurePosixPath(member.filename), folder, wheel)
    if target is None:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, 1 << 20)
    if member.external_attr >> 16 & 0o111 or target.parent == folder / "bin":
        target.chmod(0o755)


def _place(name: PurePosixPath, folder: Path, wheel: str) -> Path | None:
    """The destination of a member: beside the other packages, or as the key of its `.data` folder says;

    None for headers.
    """
    if name.is_absolute() or ".." in name.parts:
        raise UpdateRefused(f"{wheel} would write outside of its place: {str(name)[:100]!r}")
    if len(name.parts) > 2 and name.parts[0].endswith(".data"):
        key, rest = name.parts[1], name.parts[2:]
        roots = {"purelib": folder / SITE, "platlib": folder / SITE, "scripts": folder / "bin", "data": folder}
        return roots[key].joinpath(*rest) if key in roots else None
    return folder / SITE / name


def _scripts(entries: Path, target: Path, python: Path) -> None:
    section = ""
    for line in entries.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip().strip("[]")
        elif section == "console_scripts" and (found := _ENTRY.fullmatch(line.strip())):
            name, module, call = found.groups()
            path = target / name
            path.write_text(SCRIPT.format(python=python, module=module, name=call.split(".")[0], call=call))
            path.chmod(0o755)
