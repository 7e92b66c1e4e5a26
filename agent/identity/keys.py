"""The kit's key (P-256) and what is made with it: certificate requests, and proofs of possession."""

from __future__ import annotations

import base64

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM
Key = ec.EllipticCurvePrivateKey


def new_key() -> bytes:
    """A new private key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def read_key(pem: bytes) -> Key:
    """Read a private key. Raises ValueError or TypeError for anything but a private key on P-256."""
    key = serialization.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise TypeError("not a key on P-256")
    return key


def request(key: Key, kit: str) -> x509.CertificateSigningRequest:
    """A certificate request for this kit (PKCS #10)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kit)])
    return x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())


def pem_of(csr: x509.CertificateSigningRequest) -> str:
    return csr.public_bytes(PEM).decode()


def der_of(csr: x509.CertificateSigningRequest) -> bytes:
    return csr.public_bytes(serialization.Encoding.DER)


def proof(key: Key, statement: bytes) -> str:
    """The signature over a statement of core.contracts.identity, in base64."""
    return base64.b64encode(key.sign(statement, ec.ECDSA(hashes.SHA256()))).decode()


def name_of(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""
