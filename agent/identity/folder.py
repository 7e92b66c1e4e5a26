"""The identity on disk. It exists once `kit.pem` does: key, certificate and issuer in one file, put in place by one
rename.

Everything that file needs is written before it, and the key of a request in progress stays in `pending.key` until the
answer is stored. So a power cut at any moment leaves the old identity, the new one, or a request that can be repeated.
Files are readable by their owner only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from agent.errors import IdentityUnusable
from agent.files import write_whole
from agent.identity.keys import Key, name_of, new_key, read_key
from core.contracts.identity import Identity

FOLDER = "identity"
SETTINGS = "agent.toml"
WHOLE = "kit.pem"


@dataclass(frozen=True, slots=True)
class Held:
    """The current identity."""

    key: Key
    certificate: x509.Certificate

    @property
    def kit(self) -> str:
        return name_of(self.certificate)

    @property
    def serial(self) -> str:
        return f"{self.certificate.serial_number:x}"

    @property
    def renew_after(self) -> datetime:
        """The time after two thirds of the certificate's life."""
        begins, ends = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        return begins + (ends - begins) * 2 / 3


class IdentityFolder:
    """`identity/` below the kit's state folder.

    Raises IdentityUnusable for files that are damaged or cannot be written.
    """

    def __init__(self, state: Path) -> None:
        self._folder = state / FOLDER

    @property
    def whole(self) -> Path:
        return self._folder / WHOLE

    @property
    def authority(self) -> Path:
        return self._folder / "ca.pem"

    def trusted(self) -> str:
        """The authority's certificates, PEM."""
        try:
            return self.authority.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise IdentityUnusable(
                f"{self.authority} cannot be read ({error}); enrol this kit again with a new claim"
            ) from None

    @property
    def _pending(self) -> Path:
        return self._folder / "pending.key"

    def held(self) -> Held | None:
        """The current identity, or None before the first enrolment."""
        try:
            text = self.whole.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise IdentityUnusable(f"{self.whole} cannot be read: {error.strerror}") from None
        try:
            return Held(read_key(text), x509.load_pem_x509_certificate(text))
        except (ValueError, TypeError) as error:
            raise IdentityUnusable(
                f"{self.whole} is damaged ({error}); enrol this kit again with a new claim"
            ) from None

    def pending_key(self) -> Key:
        """The key for the next request: that of an interrupted one, or a new one, written to disk before it is used."""
        held = self.held()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                pending = read_key(self._pending.read_bytes())
            except (FileNotFoundError, ValueError, TypeError):
                pending = None
            if pending is None or (held is not None and pending.public_key() == held.key.public_key()):
                write_whole(self._pending, new_key())
                pending = read_key(self._pending.read_bytes())
        except OSError as error:
            raise IdentityUnusable(f"{self._folder} cannot be used: {error.strerror}") from None
        return pending

    def install(self, key: Key, made: Identity, relay: str) -> Held:
        """Put the relay's answer into effect. IdentityUnusable when it is not for this key or cannot be written."""
        _check(key, made)
        try:
            pem = self._pending.read_bytes()
            write_whole(self.authority, made.authority.encode())
            write_whole(self._folder / SETTINGS, self._settings(made, relay).encode())
            write_whole(self.whole, pem + made.certificate.encode())
            self._pending.unlink()
        except OSError as error:
            raise IdentityUnusable(f"{self._folder} cannot be written: {error.strerror}") from None
        held = self.held()
        assert held is not None
        return held

    def finish(self) -> None:
        """Complete an `install` that a power cut stopped just before its last step: remove the pending key now
        in use.
        """
        held = self.held()
        if held is None or not self._pending.exists():
            return
        try:
            if read_key(self._pending.read_bytes()).public_key() == held.key.public_key():
                self._pending.unlink()
        except (ValueError, TypeError):
            self._pending.unlink()

    def _settings(self, made: Identity, relay: str) -> str:
        """The agent's settings known from enrolment; the configuration file, the environment and options
        override them.
        """
        whole, authority = _quoted(str(self.whole)), _quoted(str(self.authority))
        return (
            "# Written by `homeside enrol`, and anew at every renewal.\n"
            f"kit = {_quoted(made.kit)}\n\n[identity]\nrelay = {_quoted(relay)}\n\n"
            f"[broker]\nurl = {_quoted(made.broker)}\n\n"
            f"[broker.tls]\nca = {authority}\ncert = {whole}\nkey = {whole}\n"
        )


def _check(key: Key, made: Identity) -> None:
    """Guard against mistakes of the relay, which has already proved its identity on this connection."""
    try:
        certificate = x509.load_pem_x509_certificate(made.certificate.encode())
        x509.load_pem_x509_certificates(made.authority.encode())
    except ValueError as error:
        raise IdentityUnusable(f"the relay's answer is no certificate: {error}") from None
    if certificate.public_key() != key.public_key() or name_of(certificate) != made.kit:
        raise IdentityUnusable("the relay's answer is a certificate for another key or kit")


def within_life(path: Path, now_s: float) -> bool:
    """Whether this clock lies within the certificate's validity.

    Raises OSError or ValueError for an unreadable file.
    """
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_before_utc.timestamp() <= now_s <= certificate.not_valid_after_utc.timestamp()


def _quoted(text: str) -> str:
    """A TOML basic string; JSON strings are valid ones."""
    return json.dumps(text)
