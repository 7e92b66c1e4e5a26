"""Enrolment of a kit: what it and the relay say to each other, and the bytes a kit signs to show that it holds its key.

A claim is a code an operator made for one kit. The kit spends it once, for a certificate on a key that never leaves it;
later it shows that key, and no claim. Times are epoch seconds by the relay's clock: a kit's own may be years off.
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
"""A request of a kit: a P-256 CSR takes 500 bytes."""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, so that a printed code can be typed."""
CODE_LENGTH = 25
GROUP = 5
RESERVED = frozenset({"relay"})
"""Names on the broker that are not kits'."""
_READ_AS = str.maketrans({"O": "0", "I": "1", "L": "1"})
_T = TypeVar("_T")

Pem = Annotated[str, msgspec.Meta(max_length=8_192)]
Serial = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,40}$")]
Proof = Annotated[str, msgspec.Meta(max_length=256)]


class EnrolRequest(msgspec.Struct):
    """`csr` is PEM (PKCS #10, RFC 2986) on a P-256 key; its common name is the kit the claim was made for."""

    claim: Annotated[str, msgspec.Meta(max_length=64)]
    csr: Pem


class RenewRequest(msgspec.Struct):
    """`proof`: base64 of the signature (ECDSA, SHA-256) of `renewal_statement` by the key of certificate `serial`."""

    serial: Serial
    csr: Pem
    proof: Proof


class TokenRequest(msgspec.Struct):
    """`at` is the relay's time as the kit knows it; `proof` signs `token_statement`."""

    serial: Serial
    at: int
    proof: Proof


class Identity(msgspec.Struct, rename="camel"):
    """The answer to the first two, all PEM: `certificate` with its issuer, and whom to trust from now on."""

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
    """Whom to trust, once `fingerprint` (SHA-256 of one of the certificates, DER) was compared; and what time it is."""

    certificates: str
    fingerprint: str
    now: int


class Token(msgspec.Struct, rename="camel"):
    """A bearer token for the relay's HTTP APIs."""

    token: str
    expires_at: int


def decode(body: bytes, kind: type[_T]) -> _T:
    """Raises MalformedMessage or InvalidMessage, naming the field."""
    try:
        return decoded(body, kind)
    except msgspec.ValidationError as error:
        raise InvalidMessage(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedMessage("the body is not JSON") from None


def claimable(kit: str) -> bool:
    """Whether a kit may bear this name."""
    return valid_kit(kit) and kit.lower() not in RESERVED


def code_of(number: int) -> str:
    """125 bits as a claim's code, in groups of five."""
    letters = [ALPHABET[(number >> (5 * place)) & 31] for place in range(CODE_LENGTH)]
    return "-".join("".join(letters[start : start + GROUP]) for start in range(0, CODE_LENGTH, GROUP))


def plain_code(typed: str) -> str:
    """A code as somebody typed it, without dashes and spaces, and with the letters meant for look-alikes."""
    return re.sub(r"[\s-]", "", typed).upper().translate(_READ_AS)


def plain_fingerprint(typed: str) -> str:
    """64 lower-case hexadecimal digits, however they were grouped; InvalidMessage when they are none."""
    plain = re.sub(r"[\s:-]", "", typed).lower().removeprefix("sha256")
    if re.fullmatch(r"[0-9a-f]{64}", plain) is None:
        raise InvalidMessage("a fingerprint is 64 hexadecimal digits (SHA-256)")
    return plain


def renewal_statement(serial: str, csr_der: bytes) -> bytes:
    """What proves a renewal: only the holder of the old key can have asked for exactly this new one."""
    return b"homeside renew v1\0" + serial.encode() + b"\0" + csr_der


def token_statement(serial: str, at: int) -> bytes:
    return b"homeside token v1\0" + serial.encode() + b"\0" + str(at).encode()
