"""The four transports by the URL's scheme, with certificates made for the test; the broker is always verified."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.errors import BrokerUnreachable
from agent.sections import Broker
from agent.uplink.link import Link
from tests.peers import Mosquitto, free_port


class Authority:
    """A certificate authority of one test."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._count = 0
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self._name, self._key.public_key()).add_extension(constraints, critical=True)
        builder = builder.add_extension(usage, critical=True)
        self.path = folder / f"{name}.pem"
        self._write(self.path, builder.sign(self._key, hashes.SHA256()))

    def issue(self, name: str, address: str | None = None) -> tuple[Path, Path]:
        """Certificate and key, for an IP address or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(subject, key.public_key())
        if address is not None:
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            builder = builder.add_extension(names, critical=False)
        cert_path, key_path = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._write(cert_path, builder.sign(self._key, hashes.SHA256()))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return cert_path, key_path

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        self._count += 1
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(self._count)
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )

    def _write(self, path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def ports(authority: Authority, mosquitto_with: Callable[..., Mosquitto], tmp_path: Path) -> dict[str, int]:
    """A broker that listens in all four ways; mqtts asks for a client's certificate."""
    certificate, key = authority.issue("broker", "127.0.0.1")
    ports = {scheme: free_port() for scheme in ("mqtts", "ws", "wss")}
    tls = (f"certfile {certificate}", f"keyfile {key}")
    mosquitto_with(
        "allow_anonymous true",
        f"listener {ports['mqtts']} 127.0.0.1",
        *tls,
        f"cafile {authority.path}",
        "require_certificate true",
        f"listener {ports['ws']} 127.0.0.1",
        "protocol websockets",
        f"listener {ports['wss']} 127.0.0.1",
        "protocol websockets",
        *tls,
    )
    return ports


@pytest.mark.parametrize("scheme", ["mqtts", "ws", "wss"])
async def test_connects(scheme: str, ports: dict[str, int], authority: Authority) -> None:
    tls = {"ca": authority.path}
    if scheme == "mqtts":
        tls["cert"], tls["key"] = authority.issue("bed-7")
    broker = Broker.model_validate({"url": f"{scheme}://127.0.0.1:{ports[scheme]}", "tls": tls})
    assert await Link.speaks_5(broker, "bed-7")


@pytest.mark.parametrize("scheme", ["mqtts", "wss"])
async def test_broker_of_another_authority_is_refused(scheme: str, ports: dict[str, int], tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    broker = Broker.model_validate({"url": f"{scheme}://127.0.0.1:{ports[scheme]}", "tls": {"ca": other.path}})
    with pytest.raises(BrokerUnreachable, match=r"not trusted .*set broker\.tls\.ca"):
        await Link.speaks_5(broker, "bed-7")


async def test_broker_of_another_name_is_refused(ports: dict[str, int], authority: Authority) -> None:
    broker = Broker.model_validate({"url": f"wss://localhost:{ports['wss']}", "tls": {"ca": authority.path}})
    with pytest.raises(BrokerUnreachable, match=r"not trusted .*localhost"):
        await Link.speaks_5(broker, "bed-7")


async def test_missing_certificate_files_are_named(tmp_path: Path) -> None:
    broker = Broker.model_validate({"url": "mqtts://127.0.0.1:1", "tls": {"ca": tmp_path / "absent.pem"}})
    with pytest.raises(BrokerUnreachable, match=r"broker\.tls: the certificates cannot be loaded"):
        await Link.speaks_5(broker, "bed-7")
