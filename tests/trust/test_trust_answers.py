"""What docs/security.md answers by a test and no other test shows: passwords, tokens, algorithms, logs, addresses."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from agent.identity.exchange import trusting
from relay.accounts.passwords import Passwords
from tests.peers import REPO_ROOT
from tests.programs import RelayProgram, token
from tests.trust.enrolling import TrustingRelay

PASSWORDS = [" Two  Words, and a half ", "p" * 64, "ünïcode – pässwörd"]
GREETING = "Homeside relay: "
"""To whoever starts it by hand; the log is the rest."""
FORGED = '"}\n{"event": "forged", "level": "info"}\r\nforged'


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("answers"), "[physio]\nfailed_sign_ins = 100\n")
    yield running
    running.stop()


@pytest.fixture
def https(relay: TrustingRelay) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=relay.url, verify=trusting(relay.root.read_text()), timeout=30) as client:
        yield client


def account(relay: TrustingRelay, email: str, password: str, role: str = "patient") -> None:
    words = ["users", "add", email, "--role", role, "--data", str(relay.data), "--consent"]
    command = [sys.executable, "-m", "homeside", *words]
    subprocess.run(command, cwd=REPO_ROOT, input=password + "\n", text=True, check=True, capture_output=True)


def sign_in(https: httpx.Client, email: str, password: str) -> httpx.Response:
    return https.post("/physio/api/auth/login", json={"email": email, "password": password})


@pytest.mark.parametrize("number", range(len(PASSWORDS)))
def test_a_password_is_taken_as_it_was_typed(relay: TrustingRelay, https: httpx.Client, number: int) -> None:
    """No character is cut off, trimmed or folded; 64 of them may be used."""
    email, password = f"typed-{number}@example.org", PASSWORDS[number]
    account(relay, email, password)
    assert sign_in(https, email, password).status_code == 200
    for other in {password.strip(), password.upper(), password[:-1], password + " "} - {password}:
        assert sign_in(https, email, other).status_code == 401, other


def test_nobody_guesses_what_a_sign_in_is_known_by(relay: TrustingRelay, https: httpx.Client) -> None:
    account(relay, "known@example.org", PASSWORDS[0])
    made = [sign_in(https, "known@example.org", PASSWORDS[0]).json()["data"] for _ in range(20)]
    refresh = {one["refresh_token"] for one in made}
    assert len(refresh) == len({one["access_token"] for one in made}) == 20
    for text in refresh:
        assert re.fullmatch(r"[\w-]{22,}", text), "128 bits as base64url have 22 characters"
    for position in range(22):
        assert len({text[position] for text in refresh}) > 3, "no character is always the same"


def test_passwords_are_kept_by_argon2id() -> None:
    """At least what OWASP's Password Storage Cheat Sheet asks for: 19 MiB, two rounds."""
    passwords = Passwords()
    found = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$", passwords.hash(PASSWORDS[0]))
    passwords.close()
    assert found is not None
    memory_kib, rounds, _ = map(int, found.groups())
    assert memory_kib >= 19 * 1024
    assert rounds >= 2


def test_what_is_signed_is_by_sha256_on_p256(relay: TrustingRelay, https: httpx.Client, tmp_path: Path) -> None:
    kit = x509.load_pem_x509_certificates(relay.install("algorithms", tmp_path).read_bytes())
    own = x509.load_pem_x509_certificates(relay.anchor.read_bytes())
    root = x509.load_pem_x509_certificates(relay.root.read_bytes())
    for certificate in (*kit, *own, *root):
        key = certificate.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert isinstance(key.curve, ec.SECP256R1)
    revoked = x509.load_pem_x509_crl(https.get("/identity/v1/revoked.pem").content)
    assert {
        one.signature_hash_algorithm.name if one.signature_hash_algorithm else ""
        for one in (*kit, *own, *root, revoked)
    } == {"sha256"}


def test_an_address_is_decoded_once(relay: TrustingRelay, https: httpx.Client) -> None:
    bearer = {"Authorization": f"Bearer {token(relay.data, '--role', 'admin')}"}
    asked = https.get("/fleet/api/v1/kits/a%252e%252e%2562", headers=bearer)
    assert asked.json()["error"]["message"] == "No kit 'a%2e%2e%62' is known here."
    for path in ("/static/%2e%2e/%2e%2e/settings.py", "/static/%252e%252e/settings.py", "/static/..%5csettings.py"):
        assert https.get(path).status_code == 404, path


def test_what_is_not_ones_own_to_say_changes_nothing(relay: TrustingRelay, https: httpx.Client) -> None:
    """Role, patient and account are the relay's, whatever fields come along with a profile."""
    account(relay, "mass@example.org", PASSWORDS[0])
    data = sign_in(https, "mass@example.org", PASSWORDS[0]).json()["data"]
    bearer, mine = {"Authorization": f"Bearer {data['access_token']}"}, data["user"]["patient_id"]
    for more in ({"role": "admin"}, {"patient_id": "b0b0"}, {"user": {"role": "admin"}}, {"is_admin": True}):
        https.put("/physio/api/patients/profile", headers=bearer, json={"phone": "+1 555", **more})
    assert https.get("/physio/api/patients/profile", headers=bearer).json()["data"]["patient_id"] == mine
    again = sign_in(https, "mass@example.org", PASSWORDS[0]).json()["data"]["user"]
    assert (again["role"], again["patient_id"]) == ("patient", mine)
    assert https.get("/fleet/api/v1/kits", headers=bearer).status_code == 403


def test_a_line_of_the_log_is_one_object_whatever_is_said(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path, "--log-level", "debug")
    bearer = {"Authorization": f"Bearer {token(relay.data, '--role', 'admin')}"}
    base = relay.http
    httpx.post(f"{base}/physio/api/auth/login", json={"email": FORGED, "password": FORGED})
    httpx.get(f"{base}/fleet/api/v1/kits/{FORGED.encode().hex()}", headers=bearer)
    httpx.post(f"{base}/fleet/api/v1/kits", headers=bearer, json={"kits": [FORGED]})
    httpx.post(f"{base}/identity/v1/enrol", json={"claim": FORGED, "csr": FORGED})
    httpx.get(f"{base}/api/v1/sessions/%22%7D%0A%7B%22event%22%3A%20%22forged%22%7D")
    assert relay.stop() == 0
    logged = [line for line in relay.child.lines if not line.startswith(GREETING)]
    entries = [json.loads(line) for line in logged]
    assert len(entries) > 3
    assert not [entry for entry in entries if entry["event"] == "forged"]
    for entry in entries:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", entry["timestamp"]), "UTC, as RFC 3339 writes it"


def test_a_database_that_fails_is_in_the_log_and_nothing_is_let_through(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    bearer = {"Authorization": f"Bearer {token(relay.data, '--role', 'admin')}"}
    with closing(sqlite3.connect(relay.data / "relay.db")) as database, database:
        database.execute("ALTER TABLE fleet_kits RENAME TO away")
    answer = httpx.post(f"{relay.http}/fleet/api/v1/kits", headers=bearer, json={"kits": ["home-1"]})
    assert answer.status_code == 503
    assert "fleet_kits" not in answer.text
    relay.child.wait_for_event("database_failed")
    assert httpx.get(f"{relay.http}/fleet/api/v1/kits", headers=bearer).json()["total"] == 0
    relay.stop()


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 0\r\nContent-Length: 41",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\n folded: 1",
        "Content-Length: +41",
    ],
    ids=["length-and-chunks", "two-lengths", "unknown-coding", "folded", "signed-length"],
)
def test_where_a_request_ends_is_not_open_to_debate(relay: TrustingRelay, head: str) -> None:
    """A second request hidden behind the first gets no answer of its own."""
    hidden = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{relay.program.port}\r\n\r\n"
    first = f"POST /nothing HTTP/1.1\r\nHost: 127.0.0.1:{relay.program.port}\r\n{head}\r\n\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", relay.program.port), timeout=20) as line:
        line.sendall((first + hidden).encode())
        line.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := line.recv(65_536):
            got += chunk
    assert got.startswith(b"HTTP/1.1 4"), got[:200]
    assert got.count(b"HTTP/1.1 ") == 1, got
