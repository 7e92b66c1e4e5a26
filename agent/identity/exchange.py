"""HTTPS requests to a relay that must prove its identity: by the fingerprint given with the claim, or later by the
authority that enrolment stored here. Calls block; the agent makes them in a thread.

The validity dates of the relay's certificate are not checked, because a kit without a battery-backed clock may start
with the wrong year. An attacker still needs the relay's key, and the relay's answer gives the time.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import ssl
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.errors import EnrolRefused, RelayAway, RelayNotTrusted, SettingsError
from core.contracts.identity import MAX_BODY_BYTES, PREFIX, Authority

WITHIN_S = 10.0
NO_DATES = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python does not name."""
MOST_BYTES = 8 * MAX_BODY_BYTES
_T = TypeVar("_T")


def trusting(authority: str | None) -> ssl.SSLContext:
    """A context that trusts only these certificates (PEM), ignoring dates; without any, the system's, with dates
    checked.
    """
    context = ssl.create_default_context(cadata=authority) if authority else ssl.create_default_context()
    if authority:
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | NO_DATES
    return context


class Exchange:
    """Requests to the relay. Raises RelayAway (try again), EnrolRefused (do not) or RelayNotTrusted."""

    def __init__(self, relay: str, context: ssl.SSLContext) -> None:
        parts = urlsplit(relay)
        if parts.scheme != "https" or not parts.hostname:
            raise SettingsError(f"{relay!r} is no relay's address; expected https://host or https://host:port")
        self.relay = relay.rstrip("/")
        self._host, self._port, self._base = parts.hostname, parts.port or 443, parts.path.rstrip("/")
        self._context = context

    def authority(self) -> Authority:
        """The authority's certificates as the relay gives them, and the relay's time."""
        return self.get("/authority", Authority)

    def get(self, path: str, kind: type[_T]) -> _T:
        return self._call("GET", path, b"", kind)

    def post(self, path: str, body: msgspec.Struct, kind: type[_T]) -> _T:
        return self._call("POST", path, msgspec.json.encode(body), kind)

    def _call(self, method: str, path: str, body: bytes, kind: type[_T]) -> _T:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=WITHIN_S, context=self._context)
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            connection.request(method, f"{self._base}{PREFIX}{path}", body or None, headers)
            answer = connection.getresponse()
            data = answer.read(MOST_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise RelayNotTrusted(
                f"{self.relay} is not the relay this kit trusts, or not under this name ({error.verify_message}). "
                "Compare the fingerprint; a relay's other names go into its setting tls.names."
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise RelayAway(f"{self.relay} cannot be reached: {error}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise _refusal(self.relay, answer.status, data)
        return _decoded(self.relay, data, kind)


def pinned(relay: str, fingerprint: str) -> Exchange:
    """An exchange with the relay identified by the SHA-256 (hexadecimal) of one of its authority's certificates.

    The certificates are fetched without verification, and the one that matches the fingerprint is trusted from then on.
    Raises RelayNotTrusted when none does.
    """
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    offered = Exchange(relay, blind).authority().certificates
    with contextlib.suppress(ValueError):
        for certificate in x509.load_pem_x509_certificates(offered.encode()):
            der = certificate.public_bytes(Encoding.DER)
            if hashlib.sha256(der).hexdigest() == fingerprint:
                return Exchange(relay, trusting(certificate.public_bytes(Encoding.PEM).decode()))
    raise RelayNotTrusted(
        f"{relay} has no certificate with the fingerprint that came with the claim; do not enrol there"
    )


def _refusal(relay: str, status: int, data: bytes) -> RelayAway | EnrolRefused:
    try:
        said: Any = json.loads(data)
        code, text = str(said["code"]), str(said["detail"])
    except (ValueError, KeyError, TypeError):
        code, text = f"HTTP_{status}", f"{relay} answered {status}; is it a Homeside relay?"
    if status == 429 or status >= 500:
        return RelayAway(f"{relay} asks to try again later: {text}")
    return EnrolRefused(text, reason=code)


def _decoded(relay: str, data: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EnrolRefused(f"{relay} answered something else than was asked for: {error}") from None
