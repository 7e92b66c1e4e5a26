"""Checks of claims, certificate requests and proofs. Pure: time, bytes and random numbers are arguments."""

from __future__ import annotations

import base64
import binascii
import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.contracts.identity import plain_code
from relay.errors import CsrRefused

CODE_BITS = 125


def digest_of(code: str) -> str:
    """The stored digest of a claim's code; its 125 random bits need no slow hash."""
    return hashlib.sha256(plain_code(code).encode()).hexdigest()


def key_mark(key: ec.EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key (SubjectPublicKeyInfo, DER, hexadecimal), by which a kit that asks again is
    recognised.
    """
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).hexdigest()


def read_csr(pem: str) -> x509.CertificateSigningRequest:
    """The certificate request. Raises CsrRefused unless it is well-formed, on P-256, and signed with its own key."""
    try:
        csr = x509.load_pem_x509_csr(pem.encode())
        good = csr.is_signature_valid
        key = csr.public_key()
    except (ValueError, TypeError):
        raise CsrRefused("This is no certificate request (PKCS #10, PEM).") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CsrRefused("The key of a kit is one on P-256.")
    if not good:
        raise CsrRefused("The request is not signed by the key that it names.")
    return csr


def key_of(csr: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    key = csr.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def check_name(csr: x509.CertificateSigningRequest, kit: str) -> None:
    """Raises CsrRefused unless the request is for exactly this kit."""
    names = [str(part.value) for part in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [kit] or len(list(csr.subject)) != 1:
        raise CsrRefused("The request names another kit than the claim or the certificate it comes with.")


def renew_after(not_before: datetime, not_after: datetime) -> datetime:
    """When to renew: after two thirds of a certificate's life, so that a kit that was off for weeks still renews in
    time.
    """
    return not_before + (not_after - not_before) * 2 / 3


def proof_holds(certificate: x509.Certificate, statement: bytes, proof: str) -> bool:
    """Whether `proof` (base64) is the signature of `statement` by the key of `certificate`."""
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(base64.b64decode(proof, validate=True), statement, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True
