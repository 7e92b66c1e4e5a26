"""Builds Homeside as a Debian package: its own environment in one folder, and the installer for the rest.

Run as `python -m provisioning.install.debian --wheels FOLDER --out FOLDER` by `make deb`. Installing the package
downloads nothing; it needs only Debian's Python, of the version it was built with.
"""

from __future__ import annotations

import compileall
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Annotated

import typer

from provisioning.errors import InstallFailed, ProvisioningError
from provisioning.release.contents import OURS, read_wheel
from provisioning.updater.wheels import SITE, environment, install

HOME = Path("/usr/lib/homeside")
MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "armhf"}
CONTROL = """\
Package: homeside
Version: {version}
Architecture: {machine}
Maintainer: The Homeside authors <homeside@localhost>
Section: net
Priority: optional
Depends: python3 (>= {python}~), python3 (<< {next}~)
Recommends: systemd, dbus, bluez
Installed-Size: {size}
Description: bedside and home monitoring: agent for a kit, and relay
 The agent reads accelerometers and the camera of a kit, keeps every sample until
 the relay has it, and streams it; the relay serves physicians' browsers.
 .
 It is not a medical device.
"""
POSTINST = """\
#!/bin/sh
# Units, users, folders and links; which services run is whoever installs it to say: homeside install agent
set -e
[ "$1" = configure ] || exit 0
{home}/bin/homeside install agent relay --no-start
"""
PRERM = """\
#!/bin/sh
# At an upgrade the units stay; what was stored stays always.
set -e
[ "$1" = remove ] || exit 0
{home}/bin/homeside install --undo
"""
POSTRM = """\
#!/bin/sh
# Releases fetched by the updater go with a purge. Recordings, keys and settings stay: they are not the package's.
set -e
[ "$1" = purge ] || exit 0
rm -rf /opt/homeside /var/lib/homeside-updater /var/lib/homeside-install
"""

app = typer.Typer(add_completion=False)


@app.command()
def build(
    wheels: Annotated[Path, typer.Option(help="Folder of wheels, homeside's own among them.", exists=True)],
    out: Annotated[Path, typer.Option(help="Folder for the package.")],
) -> None:
    """Build the package from wheels."""
    try:
        path = package(sorted(wheels.glob("*.whl")), out)
    except ProvisioningError as error:
        typer.echo(f"make deb: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{path}, {path.stat().st_size >> 20} MiB")


def package(wheels: list[Path], out: Path) -> Path:
    """Build the package and return its path. InstallFailed when our wheel is missing or dpkg-deb reports an error."""
    version = next((one.version for one in map(read_wheel, wheels) if one.name == OURS), None)
    if version is None:
        raise InstallFailed("homeside's own wheel is not among the wheels: make wheel")
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"homeside_{version}_{_machine()}.deb"
    with tempfile.TemporaryDirectory(prefix="homeside-deb-") as scratch:
        stage = Path(scratch) / "stage"
        _lay_out(stage, wheels)
        _describe(stage, version)
        words = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(stage), str(target)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  fixed words
        except OSError as error:
            raise InstallFailed(f"dpkg-deb: {error.strerror}; on Debian: apt-get install dpkg-dev") from None
        if done.returncode:
            raise InstallFailed(f"dpkg-deb: {done.stderr.strip()}")
    return target


def _lay_out(stage: Path, wheels: list[Path]) -> None:
    """Lay out the files. Code is compiled in advance, validated by hash, so that running it as root writes nothing
    beside it.
    """
    home = stage / HOME.relative_to("/")
    python = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    environment(home, HOME, system_packages=True, python=python)
    install(wheels, home, HOME)
    mode = PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(home / SITE, quiet=2, stripdir=str(stage), invalidation_mode=mode)
    (stage / "usr" / "bin").mkdir(parents=True)
    (stage / "usr" / "bin" / "homeside").symlink_to("../lib/homeside/bin/homeside")


def _describe(stage: Path, version: str) -> None:
    folder = stage / "DEBIAN"
    folder.mkdir()
    size = sum(path.stat().st_size for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    major, minor = sys.version_info[:2]
    python, following = f"{major}.{minor}", f"{major}.{minor + 1}"
    text = CONTROL.format(version=version, machine=_machine(), python=python, next=following, size=size >> 10)
    (folder / "control").write_text(text)
    for name, script in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
        (folder / name).write_text(script.format(home=HOME))
        (folder / name).chmod(0o755)
    for path in stage.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)


def _machine() -> str:
    return MACHINES.get(platform.machine(), platform.machine())


if __name__ == "__main__":
    app()
