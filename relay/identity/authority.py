"""The relay's own certificate authority: a root, whose key may be kept offline, and an issuer below it that signs.

The root signs only issuers; once its key has been moved away, the relay runs without it until the issuer expires. An
external authority can take its place: its certificate as the root, an issuer it has signed, and that issuer's key.
"""

from __future__ import annotations

import fcntl
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from relay.errors import SettingsError
from relay.files import write_whole

ROOT_LIFE = timedelta(days=20 * 365)
ISSUER_LIFE = timedelta(days=5 * 365)
ISSUER_RENEWED_BEFORE = timedelta(days=365)
"""How long before it expires an issuer is renewed, if the root's key is present to sign it."""
CRL_LIFE = timedelta(days=30)
SLACK = timedelta(hours=1)
"""Certificates are valid from this long before now, since the clocks of broker and relay may differ."""
PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """Files of an authority. `root_key` need not exist."""

    root: Path
    root_key: Path
    issuer: Path
    issuer_key: Path

    @classmethod
    def below(cls, folder: Path) -> AuthorityFiles:
        return cls(folder / "root.pem", folder / "root.key", folder / "issuer.pem", folder / "issuer.key")


class Authority:
    """Signs certificates and the revocation list. Everybody trusts `root`, which has signed `issuer`."""

    def __init__(self, root: x509.Certificate, issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.root = root
        self.issuer = issuer
        self._key = key

    @property
    def root_pem(self) -> bytes:
        return self.root.public_bytes(PEM)

    @property
    def issuer_pem(self) -> bytes:
        return self.issuer.public_bytes(PEM)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root certificate (DER, hexadecimal), by which a kit recognises it."""
        return self.root.fingerprint(hashes.SHA256()).hex()

    def issue_kit(self, key: ec.EllipticCurvePublicKey, kit: str, now: datetime, life: timedelta) -> x509.Certificate:
        """A client certificate: its common name is the kit's name; it is not valid for servers."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"urn:homeside:kit:{kit}")]
        return self._leaf(key, kit, names, ExtendedKeyUsageOID.CLIENT_AUTH, now, min(now + life, self._until))

    def issue_server(
        self, key: ec.EllipticCurvePublicKey, names: Sequence[str], now: datetime, life: timedelta
    ) -> x509.Certificate:
        """A server certificate for these DNS names and IP addresses."""
        alternatives = [general_name(name) for name in names]
        until = min(now + life, self._until)
        return self._leaf(key, "Homeside relay", alternatives, ExtendedKeyUsageOID.SERVER_AUTH, now, until)

    def crl(self, revoked: Iterable[tuple[str, datetime]], now: datetime) -> bytes:
        """The certificate revocation list: serial numbers (hexadecimal) with their times, as PEM (RFC 5280
        section 5).
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.issuer.subject)
            .last_update(now - SLACK)
            .next_update(now + CRL_LIFE)
            .add_extension(x509.CRLNumber(int(now.timestamp() * 1000)), critical=False)
            .add_extension(_signed_by(self._key.public_key()), critical=False)
        )
        for serial, moment in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(moment)
            builder = builder.add_revoked_certificate(entry.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(PEM)

    @property
    def _until(self) -> datetime:
        return self.issuer.not_valid_after_utc

    def _leaf(
        self,
        key: ec.EllipticCurvePublicKey,
        name: str,
        names: Sequence[x509.GeneralName],
        purpose: x509.ObjectIdentifier,
        now: datetime,
        until: datetime,
    ) -> x509.Certificate:
        return (
            _certificate(key, name, self.issuer.subject, now, until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(_signed_by(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def own_authority(folder: Path, now: datetime) -> Authority:
    """The authority in `folder`, created on first use, its issuer renewed in time. SettingsError names what is
    missing.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files = AuthorityFiles.below(folder)
    with _alone(folder):
        if not files.root.exists():
            _make_root(files, now)
        if not files.issuer.exists() or _ends_before(files.issuer, now + ISSUER_RENEWED_BEFORE):
            _make_issuer(files, now)
    return open_authority(files, now)


def open_authority(files: AuthorityFiles, now: datetime) -> Authority:
    """Open existing files. Raises SettingsError if one is missing, does not match the others, or has expired."""
    try:
        root = x509.load_pem_x509_certificate(files.root.read_bytes())
        issuer = x509.load_pem_x509_certificate(files.issuer.read_bytes())
        key = serialization.load_pem_private_key(files.issuer_key.read_bytes(), None)
        issuer.verify_directly_issued_by(root)
    except InvalidSignature:
        raise SettingsError(f"{files.issuer} was not signed by {files.root}") from None
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"the certificate authority cannot be read: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != issuer.public_key():
        raise SettingsError(f"{files.issuer_key} is not the key of {files.issuer}; it must be one on P-256")
    if issuer.not_valid_after_utc <= now:
        raise SettingsError(
            f"the issuer {files.issuer} ended on {issuer.not_valid_after_utc:%Y-%m-%d}. "
            f"Put the root's key back as {files.root_key} and start again: a new issuer is made then."
        )
    return Authority(root, issuer, key)


def general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _make_root(files: AuthorityFiles, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = f"Homeside root {_mark(key.public_key())}"
    certificate = (
        _certificate(key.public_key(), name, None, now, now + ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_whole(files.root_key, private_pem(key), 0o600)
    write_whole(files.root, certificate.public_bytes(PEM), 0o644)


def _make_issuer(files: AuthorityFiles, now: datetime) -> None:
    """Make an issuer certificate: for the existing key if there is one, so that what it signed stays valid, else a new
    key.
    """
    if not files.root_key.exists():
        if files.issuer.exists():
            return
        raise SettingsError(f"{files.root_key} is missing, and without it no issuer can be made. Put it back once.")
    root = x509.load_pem_x509_certificate(files.root.read_bytes())
    root_key = serialization.load_pem_private_key(files.root_key.read_bytes(), None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    if not files.issuer_key.exists():
        write_whole(files.issuer_key, private_pem(ec.generate_private_key(ec.SECP256R1())), 0o600)
    key = serialization.load_pem_private_key(files.issuer_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    public = key.public_key()
    until = min(now + ISSUER_LIFE, root.not_valid_after_utc)
    certificate = (
        _certificate(public, f"Homeside issuer {_mark(public)}", root.subject, now, until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(_signed_by(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    write_whole(files.issuer, certificate.public_bytes(PEM), 0o644)


def _certificate(
    key: ec.EllipticCurvePublicKey, name: str, issuer: x509.Name | None, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer or subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SLACK)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed_by(key: ec.EllipticCurvePublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)


def _mark(key: ec.EllipticCurvePublicKey) -> str:
    """Eight hexadecimal digits of the key's hash, which tell the names of two authorities apart."""
    return x509.SubjectKeyIdentifier.from_public_key(key).digest.hex()[:8]


def _ends_before(path: Path, moment: datetime) -> bool:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc < moment
    except ValueError:
        return True


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder: a relay and a command may start at the same moment, and only one may create the authority."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
