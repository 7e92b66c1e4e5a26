"""The bill of materials (CycloneDX 1.6) of what is installed and shipped, made from the lock files only.

`python -m tests.made_sbom FILE` writes it. The same locks give the same bytes: no clock, no random serial number.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import tomllib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.spdx import is_supported_id

from tests.peers import REPO_ROOT

PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?==(?P<version>[^\s;\\]+)(?P<marker>\s*;[^\\]*)?")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
Component = dict[str, Any]


def sbom(root: Path = REPO_ROOT) -> str:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    components = [*_python(root), *_npm(root), *_models(root)]
    itself = {
        "type": "application",
        "bom-ref": "homeside",
        "name": "homeside",
        "version": project["version"],
        "purl": f"pkg:pypi/homeside@{project['version']}",
        "licenses": [{"license": {"id": project["license"]}}],
    }
    listed = json.dumps(components, sort_keys=True)
    whole = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, 'homeside ' + listed)}",
        "version": 1,
        "metadata": {"component": itself},
        "components": components,
        "dependencies": [{"ref": "homeside", "dependsOn": sorted(one["bom-ref"] for one in components)}],
    }
    return json.dumps(whole, indent=1, sort_keys=True) + "\n"


def _python(root: Path) -> Iterator[Component]:
    """Every package pinned in the runtime lock, with the digests of its files."""
    for block in re.split(r"\n(?=\S)", (root / "locks" / "runtime.txt").read_text()):
        pinned = PINNED.match(block)
        if pinned is None:
            continue
        name, version = pinned["name"].lower().replace("_", "-"), pinned["version"]
        purl = f"pkg:pypi/{name}@{version}"
        hashes = [{"alg": "SHA-256", "content": digest} for digest in HASH.findall(block)]
        found: Component = {"type": "library", "name": name, "version": version, "purl": purl, "hashes": hashes}
        if pinned["marker"]:
            found["properties"] = [{"name": "homeside:marker", "value": pinned["marker"].strip(" ;")}]
        yield {**found, "bom-ref": purl + (f"#{found['properties'][0]['value']}" if pinned["marker"] else "")}


def _npm(root: Path) -> Iterator[Component]:
    """The npm packages of the viewer and the models; those only tests need are left out."""
    for path, package in json.loads((root / "package-lock.json").read_text())["packages"].items():
        if not path or package.get("dev"):
            continue
        name, version = path.removeprefix("node_modules/"), package["version"]
        purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
        digest = base64.b64decode(package["integrity"].removeprefix("sha512-")).hex()
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "hashes": [{"alg": "SHA-512", "content": digest}],
            **_licence(package.get("license")),
        }


def _licence(said: str | None) -> Component:
    """An SPDX identifier or expression, any other text as a name; nothing if the package states no licence."""
    if said is None:
        return {}
    if is_supported_id(said):
        return {"licenses": [{"license": {"id": said}}]}
    return {"licenses": [{"expression": said.strip("()")} if " " in said else {"license": {"name": said}}]}


def _models(root: Path) -> Iterator[Component]:
    lock = root / "agent" / "vision" / "models.json"
    for name, model in sorted(json.loads(lock.read_text()).items()) if lock.exists() else ():
        yield {
            "type": "machine-learning-model",
            "bom-ref": f"model:{name}",
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": model["sha256"]}],
            "description": f"from {model['package']}",
        }


def main() -> None:
    path = Path(sys.argv[1])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(sbom(), "utf-8")
    print(f"{path}: {len(json.loads(sbom())['components'])} components")


if __name__ == "__main__":
    main()
