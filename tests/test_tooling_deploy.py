"""What is shown for deploying parses, asks for settings that exist, and names metrics that are served."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from relay.cluster.subjects import PARTITIONS, mappings
from relay.entrance.tls import own_certificate
from relay.identity.authority import own_authority
from relay.process.metrics import Metrics
from relay.settings import RelaySettings
from tests.peers import find_peer

DEPLOY = Path(__file__).parent.parent / "docs" / "deploy"
METRIC = re.compile(r"\bhomeside_[a-z_]+")


def served() -> set[str]:
    """Every series name of /metrics."""
    names: set[str] = set()
    for family in Metrics().registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        names |= {family.name + suffix for suffix in suffixes}
    return names


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def configured(name: str, key: str) -> str:
    """A file inside a ConfigMap of the cluster's manifests."""
    found = [one for one in documents("cluster.yaml") if one["kind"] == "ConfigMap" and one["metadata"]["name"] == name]
    return str(found[0]["data"][key])


@pytest.mark.parametrize("name", ["grafana.json", "alerts.yaml"])
def test_only_metrics_that_are_served_are_asked_for(name: str) -> None:
    asked = set(METRIC.findall((DEPLOY / name).read_text()))
    assert len(asked) > 8
    assert asked - served() == set()


def test_the_dashboard_shows_each_panel_its_queries() -> None:
    board = json.loads((DEPLOY / "grafana.json").read_text())
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) >= 9
    assert all(panel["targets"] and panel["description"] for panel in board["panels"])


def test_every_alert_says_what_to_do_and_why_its_threshold_is_there() -> None:
    rules = [rule for group in documents("alerts.yaml")[0]["groups"] for rule in group["rules"]]
    assert len(rules) >= 8
    for rule in rules:
        assert {"summary", "reason"} == set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in ("page", "warning")


def environment(body: Any) -> dict[str, str]:
    """Every HOMESIDE_RELAY_ variable, wherever it stands; the value of those that come from a secret is a guess."""
    found: dict[str, str] = {}
    if isinstance(body, dict):
        if str(body.get("name", "")).startswith("HOMESIDE_RELAY_"):
            found[body["name"]] = "nats://a:4222" if "URL" in body["name"] else "x"
        for key, value in body.items():
            found |= {key: str(value)} if str(key).startswith("HOMESIDE_RELAY_") else environment(value)
    elif isinstance(body, list):
        for one in body:
            found |= environment(one)
    return found


@pytest.mark.parametrize("name", ["box.yaml", "site.yaml", "cluster.yaml"])
def test_the_settings_asked_for_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = environment(documents(name))
    assert asked
    for key, value in asked.items():
        monkeypatch.setenv(key, value)
    given = RelaySettings().model_dump(exclude_unset=True)
    assert len(json.dumps(given, default=str)) > 10


def test_the_clusters_relays_and_servers_agree_on_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = RelaySettings.model_validate(tomllib.loads(configured("homeside-relay", "relay.toml")))
    written = dict(
        re.findall(r'^\s*"(homeside\.v1\.[^"]+)": "([^"]+)"', configured("homeside-nats", "nats.conf"), re.MULTILINE)
    )
    assert settings.cluster.partitions == PARTITIONS
    assert written == mappings(settings.cluster.partitions)


def test_nats_takes_the_configuration(tmp_path: Path) -> None:
    program = find_peer("nats-server", "nats-server")
    now = datetime.now(UTC)
    authority = own_authority(tmp_path / "authority", now)
    certificate, key = own_certificate(tmp_path / "tls", authority, ["localhost"], now)
    text = configured("homeside-nats", "nats.conf").replace("/data", str(tmp_path / "data"))
    for name, path in (("tls.crt", certificate), ("tls.key", key), ("ca.crt", certificate)):
        text = text.replace(f"/tls/{name}", str(path))
    written = tmp_path / "nats.conf"
    written.write_text(text)
    done = subprocess.run(
        [program, "-t", "-c", str(written)],
        env={"POD_NAME": "nats-0", "RELAY_PASSWORD": "secret"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
