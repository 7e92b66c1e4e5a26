"""A kit comes by its identity: claims that hold once, keys that stay, and everything that must be refused."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from agent.identity.exchange import trusting
from agent.identity.keys import new_key, pem_of, read_key, request
from tests.programs import token
from tests.trust.enrolling import TrustingRelay, homeside


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("trust"))
    yield running
    running.stop()


@pytest.fixture
def https(relay: TrustingRelay) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{relay.url}/identity/v1", verify=trusting(relay.root.read_text())) as client:
        yield client


def csr_for(kit: str) -> str:
    return pem_of(request(read_key(new_key()), kit))


def test_a_claim_made_by_command_is_written_for_the_kit_and_may_be_listed(relay: TrustingRelay, tmp_path: Path) -> None:
    words = ("--relay", relay.url, "--files", tmp_path, "--json", "--qr")
    (invited,) = json.loads(relay.command("claims", "make", "bedside-cli", *words))
    assert invited["link"].startswith("homeside:enrol?kit=bedside-cli&relay=https%3A%2F%2F127.0.0.1")
    done = homeside("enrol", "--from", tmp_path / "bedside-cli.toml", "--state", tmp_path / "kit")
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "bedside-cli.toml").stat().st_mode) == 0o600
    claims = {claim["kit"]: claim["state"] for claim in json.loads(relay.command("claims", "list", "--json"))}
    assert claims["bedside-cli"] == "spent"
    assert "bedside-cli" in relay.command("kits", "list")
    again = homeside("enrol", "--from", tmp_path / "bedside-cli.toml", "--state", tmp_path / "kit")
    assert again.returncode == 0, "an enrolled kit stays enrolled"


def test_a_claim_gives_a_kit_its_certificate_and_its_key_stays(relay: TrustingRelay, tmp_path: Path) -> None:
    (invited,) = relay.invite("bedside-01")
    done = relay.enrol(invited, tmp_path / "kit", "--json")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "kit" / "identity"
    whole = folder / "kit.pem"
    assert stat.S_IMODE(whole.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not (folder / "pending.key").exists()
    certificate = x509.load_pem_x509_certificate(whole.read_bytes())
    assert f"{certificate.serial_number:x}" == json.loads(done.stdout)["serial"]
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert 89.9 < life.total_seconds() / 86_400 < 90.1
    root = x509.load_pem_x509_certificate(relay.root.read_bytes())
    leaf, issuer = x509.load_pem_x509_certificates(whole.read_bytes())
    leaf.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(root)
    key = read_key(whole.read_bytes())
    secret = f"{key.private_numbers().private_value:064x}"
    database = (relay.data / "relay.db").read_bytes() if (relay.data / "relay.db").exists() else b""
    assert secret.encode() not in database
    assert [entry["what"] for entry in relay.audit() if entry["kit"] == "bedside-01"] == ["enrolled", "claim_made"]


def test_a_claim_is_kept_as_a_digest_only(relay: TrustingRelay) -> None:
    (invited,) = relay.invite("bedside-digest")
    stored = b"".join(path.read_bytes() for path in relay.data.rglob("*") if path.is_file())
    assert b"bedside-digest" in stored
    assert invited["claim"].encode() not in stored
    assert invited["claim"].replace("-", "").encode() not in stored


def test_a_claim_is_good_once_and_for_its_holder_again(relay: TrustingRelay, https: httpx.Client) -> None:
    (invited,) = relay.invite("bedside-02")
    mine = csr_for("bedside-02")
    first = https.post("/enrol", json={"claim": invited["claim"], "csr": mine})
    again = https.post("/enrol", json={"claim": invited["claim"].lower().replace("-", " "), "csr": mine})
    assert first.status_code == again.status_code == 200
    assert first.json()["serial"] == again.json()["serial"]
    thief = https.post("/enrol", json={"claim": invited["claim"], "csr": csr_for("bedside-02")})
    assert (thief.status_code, thief.json()["code"]) == (403, "CLAIM_REFUSED")
    refused = [entry["detail"] for entry in relay.audit() if entry["what"] == "enrol_refused"]
    assert any("spent" in detail for detail in refused)


def test_an_expired_or_withdrawn_claim_is_refused(relay: TrustingRelay, https: httpx.Client) -> None:
    (short,) = relay.invite("bedside-03", hours=0.00001)
    (withdrawn,) = relay.invite("bedside-04")
    assert "1 claim withdrawn" in relay.command("claims", "revoke", "bedside-04")
    for invited in (short, withdrawn):
        refused = https.post("/enrol", json={"claim": invited["claim"], "csr": csr_for(invited["kit"])})
        assert (refused.status_code, refused.json()["code"]) == (403, "CLAIM_REFUSED")


def test_a_request_for_another_kit_is_refused_and_leaves_the_claim(relay: TrustingRelay, https: httpx.Client) -> None:
    (invited,) = relay.invite("bedside-05")
    other = https.post("/enrol", json={"claim": invited["claim"], "csr": csr_for("bedside-06")})
    assert (other.status_code, other.json()["code"]) == (400, "CSR_REFUSED")
    good = https.post("/enrol", json={"claim": invited["claim"], "csr": csr_for("bedside-05")})
    assert good.status_code == 200


def test_only_an_admin_makes_claims_over_http(relay: TrustingRelay, https: httpx.Client) -> None:
    wanted = {"kits": ["bedside-07"]}
    assert https.post("/claims", json=wanted).status_code == 401
    for role, status in (("viewer", 403), ("kit", 403), ("physiotherapist", 403), ("admin", 201)):
        bearer = {"Authorization": f"Bearer {token(relay.data, '--role', role, '--name', 'x')}"}
        assert https.post("/claims", json=wanted, headers=bearer).status_code == status, role
    assert "code" not in json.dumps(https.get("/claims", headers=bearer).json())
    assert https.post("/claims", json={"kits": ["relay"]}, headers=bearer).status_code == 400
