"""What must never be in a log, and sign-ins that must not outlive their end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from agent.identity.enrol import token as kit_token
from agent.identity.exchange import Exchange, trusting
from agent.identity.folder import IdentityFolder
from core.contracts.identity import plain_code
from tests.peers import REPO_ROOT, start_homeside
from tests.programs import token
from tests.trust.attackers import Client
from tests.trust.enrolling import TrustingRelay
from tests.waiting import until

PASSWORD = "a battery that is quite correct"
EMAIL = "admin@example.org"


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("sign-ins"))
    command("users", "add", EMAIL, "--role", "admin", "--data", str(running.data))
    yield running
    running.stop()


def command(*words: str) -> None:
    """With the password on its input."""
    whole = [sys.executable, "-m", "homeside", *words]
    subprocess.run(whole, cwd=REPO_ROOT, input=PASSWORD + "\n", text=True, check=True, capture_output=True, timeout=60)


def signed_in(https: httpx.Client, password: str = PASSWORD) -> httpx.Response:
    return https.post("/physio/api/auth/login", json={"email": EMAIL, "password": password})


def test_over_tls_the_refresh_cookie_is_secure_by_its_name_too(relay: TrustingRelay) -> None:
    with httpx.Client(base_url=relay.url, verify=trusting(relay.root.read_text())) as https:
        said = signed_in(https).headers["set-cookie"]
        assert said.startswith("__Secure-homeside_refresh=")
        for word in ("HttpOnly", "Secure", "SameSite=strict", "Path=/physio/api/auth"):
            assert word.lower() in said.lower()
        assert https.get("/physio/api/auth/refresh").status_code == 200, "the cookie is read under that name"


def test_an_ended_sign_in_opens_no_guarded_listener(relay: TrustingRelay) -> None:
    with httpx.Client(base_url=relay.url, verify=trusting(relay.root.read_text())) as https:
        bearer = {"Authorization": f"Bearer {signed_in(https).json()['data']['access_token']}"}
        paths = ("/scg/api/v1/sessions", "/timers/v1/sessions", "/identity/v1/kits")
        assert [https.get(path, headers=bearer).status_code for path in paths] == [200, 200, 200]
        assert https.post("/physio/api/auth/logout", headers=bearer).status_code == 200
        until(lambda: [https.get(path, headers=bearer).status_code for path in paths] == [401, 401, 401])
        changed = {"Authorization": f"Bearer {signed_in(https).json()['data']['access_token']}"}
        assert https.get(paths[0], headers=changed).status_code == 200
        command("users", "passwd", EMAIL, "--data", str(relay.data))
        until(lambda: https.get(paths[0], headers=changed).status_code == 401)
        disabled = {"Authorization": f"Bearer {signed_in(https).json()['data']['access_token']}"}
        assert https.get(paths[0], headers=disabled).status_code == 200
        relay.command("users", "disable", EMAIL)
        until(lambda: https.get(paths[0], headers=disabled).status_code == 401)


def test_no_secret_is_ever_logged(tmp_path: Path) -> None:
    relay = TrustingRelay(tmp_path)
    relay.stop()
    relay = TrustingRelay(tmp_path, "[physio]\nfailed_sign_ins = 100\n", log_level="debug")
    command("users", "add", EMAIL, "--role", "admin", "--data", str(relay.data))
    secrets: dict[str, str] = {"password": PASSWORD, "wrong password": "a wrong battery altogether"}
    (invited,) = relay.invite("bedside-01")
    secrets |= {"claim": invited["claim"], "plain claim": plain_code(invited["claim"])}
    enrolled = relay.enrol(invited, tmp_path / "kit")
    assert enrolled.returncode == 0
    relay.enrol(invited, tmp_path / "thief")
    held = IdentityFolder(tmp_path / "kit").held()
    assert held is not None
    secrets["kit's key"] = f"{held.key.private_numbers().private_value:x}"
    secrets["kit's key, PEM"] = (tmp_path / "kit" / "identity" / "kit.pem").read_text().splitlines()[1]
    secrets["relay's secret"] = (relay.data / "secret").read_text().strip()
    secrets["tls key"] = (relay.data / "tls" / "key.pem").read_text().splitlines()[1]
    secrets["link's token"] = token(relay.data, "--role", "viewer", "--session", "00000000-0000-4000-8000-000000000000")
    secrets["kit's token"] = kit_token(held, Exchange(relay.url, trusting(relay.root.read_text()))).token
    sensor = start_homeside("simulate", "--link", tmp_path / "sensor", "--seed", "5")
    sensor.wait_until((tmp_path / "sensor").exists, "its serial port")
    said = ("--serial", tmp_path / "sensor", "--state", tmp_path / "kit", "--log-level", "debug")
    agent = start_homeside("agent", *said)
    relay.program.child.wait_for_event("session_created")
    secrets |= _used(relay, secrets)
    agent.end()
    sensor.end()
    relay.stop()
    written = "\n".join([*relay.program.child.lines, *agent.lines, enrolled.stdout, enrolled.stderr])
    assert "kit_enrolled" in written
    assert "signed_in" in written
    assert [name for name, secret in secrets.items() if secret in written] == []


def _used(relay: TrustingRelay, secrets: dict[str, str]) -> dict[str, str]:
    """Every secret shown where it is shown in earnest, and once where it is wrong; more of them come of it."""
    trust = trusting(relay.root.read_text())
    with httpx.Client(base_url=relay.url, verify=trust) as https:
        assert signed_in(https, secrets["wrong password"]).status_code == 401
        data: dict[str, Any] = signed_in(https).json()["data"]
        bearer = {"Authorization": f"Bearer {data['access_token']}"}
        assert https.get("/scg/api/v1/sessions", headers=bearer).status_code == 200
        assert https.get("/scg/api/v1/sessions", params={"token": secrets["link's token"]}).status_code == 403
        assert https.get("/scg/api/v1/sessions", headers={"Authorization": "Bearer not-a-token"}).status_code == 401
        https.post("/identity/v1/enrol", content=json.dumps({"claim": secrets["claim"]}))
    link = secrets["link's token"]
    address = f"{relay.url.replace('https', 'wss')}/scg/ws/00000000-0000-4000-8000-000000000000"
    with suppress(Exception), connect(f"{address}?token={link}", ssl=trust) as socket:
        socket.recv(timeout=5)
    for name, password in (("bedside-01", secrets["kit's token"]), ("bedside-02", secrets["kit's token"])):
        client = Client(relay.program.mqtt_port, login=(name, password), ca=relay.root)
        client.admitted()
        client.close()
    return {"access token": data["access_token"], "refresh token": data["refresh_token"]}
