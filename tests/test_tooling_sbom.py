"""The bill of materials holds everything the locks hold, and is a CycloneDX document."""

from __future__ import annotations

import json
import re
from pathlib import Path

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.made_sbom import sbom


def test_it_is_valid_and_always_the_same() -> None:
    text = sbom()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert text == sbom()


def test_it_names_every_pin_of_the_locks(repo_root: Path) -> None:
    components = json.loads(sbom())["components"]
    pins = re.findall(
        r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (repo_root / "locks" / "runtime.txt").read_text(), re.MULTILINE
    )
    python = [(one["name"], one["version"]) for one in components if one.get("purl", "").startswith("pkg:pypi/")]
    assert sorted(python) == sorted((name.lower().replace("_", "-"), version) for name, version in pins)
    assert len(python) > 50
    assert all(one["hashes"] for one in components)
    npm = {one["name"] for one in components if one.get("purl", "").startswith("pkg:npm/")}
    assert "uplot" in npm
    assert "axe-core" not in npm
    refs = [one["bom-ref"] for one in components]
    assert len(refs) == len(set(refs))


def test_make_sbom_writes_it(repo_root: Path) -> None:
    recipe = (repo_root / "Makefile").read_text().split("\nsbom:")[1].split("\n\n")[0]
    assert "tests.made_sbom dist/homeside.cdx.json" in recipe
