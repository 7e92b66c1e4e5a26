"""The plan for one kit, validated here, so that no value can break out of the line it is written into on a card."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode, urlsplit

from core.contracts.topics import valid_kit
from provisioning.errors import TableUnusable

ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
COUNTRY = re.compile(r"[A-Z]{2}")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
SSH_KEY = re.compile(
    r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp256|sk-ssh-ed25519@openssh\.com) [A-Za-z0-9+/=]+(?: [ -~]*)?"
)
CODE = re.compile(r"[0-9A-Za-z-]{8,80}")
FINGERPRINT = re.compile(r"[0-9a-f]{64}")
SETTING = re.compile(r"[a-z_]+(?:\.[a-z0-9_]+)*")


@dataclass(frozen=True, slots=True)
class Wifi:
    """`key` is derived from the password, so that a password also used elsewhere is never stored on a card."""

    network: str
    key: str
    country: str


@dataclass(frozen=True, slots=True)
class Plan:
    kit: str
    relay: str
    claim: str
    fingerprint: str
    zone: str = "Etc/UTC"
    wifi: Wifi | None = None
    user: str = "operator"
    ssh_keys: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    release_keys: str = ""

    def __post_init__(self) -> None:
        address = urlsplit(self.relay)
        wrong = {
            "kit": not valid_kit(self.kit) or "_" in self.kit or len(self.kit) > 63,
            "relay": address.scheme != "https" or not address.hostname or not re.fullmatch(r"[!-~]+", self.relay),
            "claim": not CODE.fullmatch(self.claim),
            "fingerprint": bool(self.fingerprint) and not FINGERPRINT.fullmatch(self.fingerprint),
            "timezone": not ZONE.fullmatch(self.zone),
            "user": not USER.fullmatch(self.user) or self.user == "root",
            "ssh_keys": not all(SSH_KEY.fullmatch(key) for key in self.ssh_keys),
            "settings": not all(SETTING.fullmatch(key) for key in self.settings),
        }
        if found := [name for name, bad in wrong.items() if bad]:
            raise TableUnusable(
                f"{self.kit[:64]!r}: {', '.join(found)} cannot be right; docs/fleet.md says what may be"
            )

    @property
    def link(self) -> str:
        """The content of the label's code: everything that `homeside enrol` needs."""
        said = {"kit": self.kit, "relay": self.relay, "claim": self.claim, "fingerprint": self.fingerprint}
        return "homeside:enrol?" + urlencode(said, quote_via=quote)


def wifi(network: str, password: str, country: str) -> Wifi | None:
    """The network with the pre-shared key that WPA derives from a password (IEEE 802.11, annex J.4).

    None without a network.
    """
    if not network:
        return None
    if not 1 <= len(network.encode()) <= 32 or not network.isprintable():
        raise TableUnusable(f"{network[:40]!r} is no network's name: 1 to 32 bytes that can be printed")
    if not 8 <= len(password) <= 63 or not password.isascii() or not password.isprintable():
        raise TableUnusable(f"the password of {network!r} must have 8 to 63 printable ASCII characters (WPA)")
    if not COUNTRY.fullmatch(country):
        raise TableUnusable(
            f"{country[:10]!r} is no country: two capital letters, such as DE; radio rules depend on it"
        )
    key = hashlib.pbkdf2_hmac("sha1", password.encode(), network.encode(), 4096, 32).hex()
    return Wifi(network, key, country)
