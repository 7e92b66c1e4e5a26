"""Enrolment against those who guess, relays that pretend, and clocks that are years off."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.errors import BrokerUnreachable, RelayAway, RelayNotTrusted, SettingsError
from agent.identity.enrol import Invitation, enrol
from agent.identity.exchange import trusting
from agent.identity.folder import IdentityFolder
from agent.identity.keys import new_key, pem_of, read_key, request
from agent.identity.settings import read_invitation
from agent.sections import Broker, Tls
from agent.uplink import link
from core.contracts.identity import CODE_LENGTH, code_of, plain_code
from relay.entrance.tls import own_certificate, server_context
from relay.identity.authority import PEM, Authority, own_authority, private_pem
from tests.peers import free_port
from tests.trust.enrolling import TrustingRelay

NOW = datetime.now(UTC)
YEARS = timedelta(days=3 * 365)


def test_claims_are_not_guessed_at_speed(tmp_path: Path) -> None:
    relay = TrustingRelay(tmp_path)
    (invited,) = relay.invite("bedside-01")
    csr = pem_of(request(read_key(new_key()), "bedside-01"))
    chance = random.Random(5)
    with httpx.Client(base_url=f"{relay.url}/identity/v1", verify=trusting(relay.root.read_text())) as https:
        answers = [
            https.post("/enrol", json={"claim": code_of(chance.getrandbits(125)), "csr": csr}).status_code
            for _ in range(30)
        ]
        assert answers[0] == 403
        assert answers[-1] == 429
        assert answers.count(403) <= 10
        limited = https.post("/enrol", json={"claim": invited["claim"], "csr": csr})
        assert limited.status_code == 429
        assert int(limited.headers["Retry-After"]) > 0
    with pytest.raises(RelayAway, match="later"):
        enrol(IdentityFolder(tmp_path / "kit"), read_invitation(None, _given(invited)))
    refused = [entry for entry in relay.audit() if entry["what"] == "enrol_refused"]
    assert len(refused) == answers.count(403)
    relay.stop()


def test_garbage_gets_an_answer_and_no_more(tmp_path: Path) -> None:
    relay = TrustingRelay(tmp_path)
    with httpx.Client(base_url=f"{relay.url}/identity/v1", verify=trusting(relay.root.read_text())) as https:
        for path in ("/enrol", "/renew", "/token"):
            for body, status in ((b"", 400), (b"{", 400), (b"[1]", 400), (b"{}", 400), (b"x" * 20_000, 413)):
                assert https.post(path, content=body).status_code == status, (path, body[:10])
        assert https.post("/enrol", json={"claim": "x", "csr": "no request"}).status_code == 400
        assert https.get("/nothing").json()["code"] == "NOT_FOUND"
    assert relay.program.faults() == []
    relay.stop()


def test_a_relay_that_only_pretends_gets_no_claim(tmp_path: Path) -> None:
    """Another authority, same port: the fingerprint does not fit, and nothing is sent."""
    relay = TrustingRelay(tmp_path)
    (invited,) = relay.invite("bedside-01")
    told = Invitation("bedside-01", relay.url, plain_code(invited["claim"]), "ab" * 32)
    with pytest.raises(RelayNotTrusted, match="fingerprint"):
        enrol(IdentityFolder(tmp_path / "kit"), told)
    assert not [entry for entry in relay.audit() if entry["what"] != "claim_made"]
    relay.stop()
    with pytest.raises(RelayAway):
        enrol(IdentityFolder(tmp_path / "kit"), told)


@pytest.mark.parametrize("off", [YEARS, -YEARS], ids=["kit-years-behind", "kit-years-ahead"])
def test_a_kit_without_a_clock_still_knows_its_relay(tmp_path: Path, off: timedelta) -> None:
    """To the kit, the relay's certificates begin in years, or ended years ago."""
    authority = own_authority(tmp_path / "data" / "authority", NOW + off)
    own_certificate(tmp_path / "data" / "tls", authority, [], NOW + off)
    server = _Server(tmp_path / "data" / "tls" / "certificate.pem", tmp_path / "data" / "tls" / "key.pem")
    context = trusting(authority.root_pem.decode())
    server.shake_hands(context)
    with pytest.raises(ssl.SSLCertVerificationError):
        server.shake_hands(trusting(own_authority(tmp_path / "other", NOW).root_pem.decode()))
    server.close()


@pytest.mark.parametrize("off", [YEARS, -YEARS], ids=["kit-years-behind", "kit-years-ahead"])
def test_a_clock_outside_the_kits_own_certificate_does_not_judge_the_brokers(tmp_path: Path, off: timedelta) -> None:
    authority = own_authority(tmp_path / "authority", NOW + off)
    certificate, key = own_certificate(tmp_path / "tls", authority, [], NOW + off)
    server = _Server(certificate, key)
    (tmp_path / "ca.pem").write_bytes(authority.root_pem)
    lost = _identity(tmp_path / "lost.pem", authority, NOW + off)
    server.shake_hands(link._tls(_broker(tmp_path / "ca.pem", lost)))
    sound = _identity(tmp_path / "sound.pem", authority, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        server.shake_hands(link._tls(_broker(tmp_path / "ca.pem", sound)))
    (tmp_path / "other.pem").write_bytes(own_authority(tmp_path / "other", NOW).root_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        server.shake_hands(link._tls(_broker(tmp_path / "other.pem", lost)))
    server.close()


def test_a_broken_identity_is_said_and_not_used(tmp_path: Path) -> None:
    broken = tmp_path / "kit.pem"
    broken.write_text("nothing")
    with pytest.raises(BrokerUnreachable, match="certificates cannot be loaded"):
        link._tls(_broker(broken, broken))


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        ({"claim": "short"}, f"{CODE_LENGTH} letters"),
        ({"kit": "relay"}, "no kit's name"),
        ({"kit": "a/b"}, "no kit's name"),
        ({"fingerprint": "zz"}, "hexadecimal"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_invitation_is_named_and_its_claim_is_not_told(said: dict[str, str], wrong: str) -> None:
    good = {"kit": "bedside-01", "relay": "https://x", "claim": code_of(7), "fingerprint": "ab" * 32}
    assert read_invitation(None, good).kit == "bedside-01"
    with pytest.raises(SettingsError, match=wrong) as refused:
        read_invitation(None, {**good, **said})
    assert code_of(7) not in str(refused.value)


def test_a_code_is_read_as_people_type_it() -> None:
    code = code_of(random.Random(3).getrandbits(125))
    typed = code.lower().replace("-", " ").replace("0", "o").replace("1", "l")
    assert plain_code(typed) == code.replace("-", "")
    assert len({code_of(number) for number in range(1000)}) == 1000


def _given(invited: dict[str, str]) -> dict[str, str]:
    return {name: invited[name] for name in ("kit", "relay", "claim", "fingerprint")}


def _broker(ca: Path, identity: Path) -> Broker:
    return Broker(url=f"mqtts://127.0.0.1:{free_port()}", tls=Tls(ca=ca, cert=identity, key=identity))


def _identity(path: Path, authority: Authority, now: datetime) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    made = authority.issue_kit(key.public_key(), "bedside-01", now, timedelta(days=90))
    path.write_bytes(private_pem(key) + made.public_bytes(PEM))
    return path


class _Server:
    """Shakes hands by TLS as the relay does, and closes."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = server_context(certificate, key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._socket.accept()
            except OSError:
                return
            try:
                self._context.wrap_socket(accepted, server_side=True).close()
            except OSError:
                accepted.close()

    def shake_hands(self, context: ssl.SSLContext) -> None:
        with (
            socket.create_connection(self._socket.getsockname(), 10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() == "TLSv1.3"

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)
