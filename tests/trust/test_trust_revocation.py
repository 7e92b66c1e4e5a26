"""What a stolen certificate is worth after its revocation: nothing, anywhere, and at once for who is connected."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.x509 import load_pem_x509_crl

from agent.errors import EnrolRefused
from agent.identity.enrol import renew, token
from agent.identity.exchange import Exchange, trusting
from agent.identity.folder import IdentityFolder
from relay.auth import Principal, Role, Tokens, load_secret
from tests.peers import Child, find_peer, free_port, listens
from tests.trust.attackers import Client
from tests.trust.enrolling import TrustingRelay
from tests.waiting import until

STOLEN, OTHER = "bedside-01", "bedside-02"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("revocation"))
    yield running
    running.stop()


@pytest.fixture
def relay(shared: TrustingRelay, tmp_path: Path) -> TrustingRelay:
    """With both kits enrolled anew, whatever became of them in another test."""
    for kit in (STOLEN, OTHER):
        shared.install(kit, tmp_path / kit)
    return shared


def kits_token(relay: TrustingRelay) -> str:
    """Made before the kit may be enrolled anew, whose tokens count from that second on."""
    who = Principal(STOLEN, Role.KIT)
    return Tokens(load_secret(relay.data / "secret")).issue(who, now_s=time.time() - 2, lifetime_s=3600)


def pem(folder: Path, kit: str) -> Path:
    return folder / kit / "identity" / "kit.pem"


def test_on_the_broker_inside_a_revoked_kit_is_dropped_and_refused(relay: TrustingRelay, tmp_path: Path) -> None:
    port, ca = relay.program.mqtt_port, relay.root
    stolen = Client(port, identity=pem(tmp_path, STOLEN), ca=ca)
    by_token = Client(port, login=(STOLEN, kits_token(relay)), ca=ca)
    other = Client(port, identity=pem(tmp_path, OTHER), ca=ca)
    assert stolen.admitted()
    assert by_token.admitted()
    assert other.admitted()
    relay.revoke(STOLEN)
    until(lambda: stolen.ended.is_set() and by_token.ended.is_set())
    assert not Client(port, identity=pem(tmp_path, STOLEN), ca=ca).admitted()
    late = kits_token(relay)
    assert not Client(port, login=(STOLEN, late), ca=ca).admitted()
    assert not other.ended.is_set()
    told = httpx.get(f"{relay.program.http}/metrics").text
    assert "homeside_kits_dropped_total 2.0" in told
    assert 'homeside_kits_refused_total{why="not_trusted"}' in told
    for client in (stolen, by_token, other):
        client.close()


def test_a_revoked_kit_gets_nothing_over_http_either(relay: TrustingRelay, tmp_path: Path) -> None:
    folder = IdentityFolder(tmp_path / STOLEN)
    held = folder.held()
    assert held is not None
    exchange = Exchange(relay.url, trusting(relay.root.read_text()))
    bearer = {"Authorization": f"Bearer {token(held, exchange).token}"}
    with httpx.Client(base_url=relay.url, verify=trusting(relay.root.read_text()), headers=bearer) as https:
        assert https.post("/scg/api/v1/sessions").status_code == 200
        relay.revoke(STOLEN)
        until(lambda: https.post("/scg/api/v1/sessions").status_code == 401)
    with pytest.raises(EnrolRefused):
        renew(folder, exchange)
    with pytest.raises(EnrolRefused):
        token(held, exchange)


def test_the_list_of_revoked_certificates_names_it(relay: TrustingRelay, tmp_path: Path) -> None:
    relay.revoke(STOLEN)
    answer = httpx.get(f"{relay.url}/identity/v1/revoked.pem", verify=trusting(relay.root.read_text()))
    crl = load_pem_x509_crl(answer.content)
    issuer = x509.load_pem_x509_certificate((relay.data / "authority" / "issuer.pem").read_bytes())
    assert crl.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]
    stolen = x509.load_pem_x509_certificate(pem(tmp_path, STOLEN).read_bytes())
    other = x509.load_pem_x509_certificate(pem(tmp_path, OTHER).read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(stolen.serial_number) is not None
    assert crl.get_revoked_certificate_by_serial_number(other.serial_number) is None


def test_a_new_claim_lets_a_replaced_kit_in_again_and_the_old_one_stays_out(
    relay: TrustingRelay, tmp_path: Path
) -> None:
    old = kits_token(relay)
    relay.revoke(STOLEN)
    relay.install(STOLEN, tmp_path / "replaced")
    port, ca = relay.program.mqtt_port, relay.root
    fresh = Client(port, identity=pem(tmp_path, "replaced"), ca=ca)
    assert fresh.admitted()
    assert not Client(port, identity=pem(tmp_path, STOLEN), ca=ca).admitted()
    assert not Client(port, login=(STOLEN, old), ca=ca).admitted()
    fresh.close()


@pytest.mark.parametrize("kind", ["mosquitto", "nats"])
def test_a_broker_of_its_own_drops_and_refuses_a_revoked_kit(tmp_path: Path, kind: str) -> None:
    """By its list of revoked certificates (mosquitto), or because it is no user any more (NATS)."""
    first = TrustingRelay(tmp_path)
    for kit in (STOLEN, OTHER):
        first.install(kit, tmp_path / kit)
    files, port, relay_port = tmp_path / "broker", free_port(), free_port()
    words = ("--out", files, "--port", str(port), "--relay-port", str(relay_port))
    first.command("kits", "broker-config", kind, *words)
    first.stop()
    with ExitStack() as stack:
        broker = start_broker(kind, files, port)
        stack.callback(broker.end)
        (files / "pid").write_text(str(broker.pid))
        url = (files / "relay.toml").read_text().split('url = "')[1].split('"')[0] if kind == "mosquitto" else ""
        more = f'url = "{url}"\n[identity]\nbroker_files = "{files}"\nbroker_pid = "{files / "pid"}"\n'
        relay = TrustingRelay(tmp_path, more)
        stack.callback(relay.stop)
        stolen, other = (_let_in(port, kit, tmp_path, relay.root) for kit in (STOLEN, OTHER))
        stack.callback(stolen.close)
        stack.callback(other.close)
        assert not stolen.ended.is_set()
        relay.revoke(STOLEN)
        until(stolen.ended.is_set)
        until(lambda: not Client(port, STOLEN, identity=pem(tmp_path, STOLEN), ca=relay.root).admitted())
        assert Client(port, f"{OTHER}-2", identity=pem(tmp_path, OTHER), ca=relay.root).admitted()
        relay.install("bedside-03", tmp_path / "bedside-03")
        until(lambda: Client(port, "bedside-03", identity=pem(tmp_path, "bedside-03"), ca=relay.root).admitted())


def start_broker(kind: str, folder: Path, port: int) -> Child:
    if kind == "mosquitto":
        (folder / "here.conf").write_text("user root\nlog_dest stderr\n" + (folder / "mosquitto.conf").read_text())
    program = find_peer("mosquitto" if kind == "mosquitto" else "nats-server", kind)
    name = "here.conf" if kind == "mosquitto" else "nats.conf"
    child = Child([program, "-c", folder / name], cwd=folder)
    child.wait_until(lambda: listens(port), "its port")
    return child


def _let_in(port: int, kit: str, folder: Path, ca: Path) -> Client:
    """A connection that stands: a broker that takes a new list lets go of whoever is just coming."""
    came: list[Client] = []

    def comes() -> bool:
        came.append(Client(port, kit, identity=pem(folder, kit), ca=ca))
        return came[-1].admitted()

    until(comes)
    return came[-1]
