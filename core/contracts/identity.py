"""Enrolment of a kit: the messages between kit and relay, and the bytes a kit signs to prove that it holds its key.

A claim is a one-time code that an operator creates for one kit. The kit exchanges it for a certificate on a key that
never leaves the kit; from then on that key proves who it is. Times are epoch seconds of the relay, since a kit's may be
wrong.
"""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

import msgspec

from core.contracts.errors import InvalidMessage, MalformedMessage
from core.contracts.numbers import decoded
from core.contracts.topics import valid_kit

PREFIX = "/identity/v1"
MAX_BODY_BYTES = 16_384
"""Longest request body accepted from a kit. A P-256 certificate request takes about 500 bytes."""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, without I, L, O and U, so that a printed code can be typed without confusion."""
CODE_LENGTH = 25
GROUP = 5
RESERVED = frozenset({"relay"})
"""Names on the broker that no kit may have."""
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})
_T = TypeVar("_T")

Pem = Annotated[str, msgspec.Meta(max_length=8_192)]
Serial = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,40}$")]
Proof = Annotated[str, msgspec.Meta(max_length=256)]


class EnrolRequest(msgspec.Struct):
    """`csr` is PEM (PKCS #10, RFC 2986) for a P-256 key; its common name is the kit the claim was created for."""

    claim: Annotated[str, msgspec.Meta(max_length=64)]
    csr: Pem


class RenewRequest(msgspec.Struct):
    """`proof`: base64 of the signature (ECDSA, SHA-256) over `renewal_statement`, made with the key of certificate
    `serial`.
    """

    serial: Serial
    csr: Pem
    proof: Proof


class TokenRequest(msgspec.Struct):
    """`at` is the kit's estimate of the relay's time; `proof` is the signature over `token_statement`."""

    serial: Serial
    at: int
    proof: Proof


class Identity(msgspec.Struct, rename="camel"):
    """The answer to enrolment and renewal.

    PEM: `certificate` with its issuer; `authority` and `broker`, whom to trust.
    """

    kit: str
    serial: str
    certificate: str
    authority: str
    broker: str
    not_before: int
    not_after: int
    renew_after: int
    now: int


class Authority(msgspec.Struct):
    """The certificates to trust, once `fingerprint` (SHA-256 of one of them, DER) has been compared; and the current
    time.
    """

    certificates: str
    fingerprint: str
    now: int


class Token(msgspec.Struct, rename="camel"):
    """A bearer token for the relay's HTTP APIs."""

    token: str
    expires_at: int


def decode(body: bytes, kind: type[_T]) -> _T:
    """Decode a body. Raises MalformedMessage or InvalidMessage, which names the field."""
    try:
        return decoded(body, kind)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedMessage("the body is not JSON") from None


def claimable(kit: str) -> bool:
    """Whether a kit may have this name: valid, and not reserved."""
    return valid_kit(kit) and kit.lower() not in RESERVED


def code_of(number: int) -> str:
    """125 bits written as a claim code, in groups of five characters."""
    letters = [ALPHABET[(number >> (5 * place)) & 31] for place in range(CODE_LENGTH)]
    return "-".join("".join(letters[start : start + GROUP]) for start in range(0, CODE_LENGTH, GROUP))


def plain_code(typed: str) -> str:
    """A typed code without dashes and spaces, in upper case, with O, I and L read as the digits they resemble."""
    return re.sub(r"[\s-]", "", typed).upper().translate(_READ_AS)


def plain_fingerprint(typed: str) -> str:
    """64 lower-case hexadecimal digits, however they were grouped. Raises InvalidMessage for anything else."""
    plain = re.sub(r"[\s:-]", "", typed).lower().removeprefix("sha256")
    if re.fullmatch(r"[0-9a-f]{64}", plain) is None:
        raise InvalidMessage("a fingerprint is 64 hexadecimal digits (SHA-256)")
    return plain


def renewal_statement(serial: str, csr_der: bytes) -> bytes:
    """The bytes signed for a renewal: they bind the old certificate to exactly this new request."""
    return b"homeside renew v1\0" + serial.encode() + b"\0" + csr_der


def token_statement(serial: str, at: int) -> bytes:
    return b"homeside token v1\0" + serial.encode() + b"\0" + str(at).encode()
