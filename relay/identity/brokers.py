"""Configurations for separate brokers, mosquitto and NATS: who may connect, and to which topics. Pure: returns text.

Both admit kits by certificate only, under the name in it, to their own topics; the relay has its own port on loopback.
mosquitto learns of revoked certificates from a list (CRL). NATS has no such list: every kit is a user, a revoked one is
left out, and NATS disconnects it when it reloads its configuration.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.contracts.topics import FROM_KITS, ROOT, TO_KITS

MOSQUITTO, NATS = "mosquitto.conf", "nats.conf"
CRL, AUTHORITY = "revoked.pem", "authority.pem"
MOSQUITTO_ACL, MOSQUITTO_RELAY_ACL = "kits.acl", "relay.acl"
MOSQUITTO_PASSWORDS = "relay.passwords"
NATS_KITS, NATS_SECRET = "kits.conf", "relay.secret"
_ROUNDS = 100_000


@dataclass(frozen=True, slots=True)
class BrokerPlan:
    """Paths and ports. `certificate` and `key` are the broker's; `relay_port` is on loopback."""

    folder: Path
    certificate: Path
    key: Path
    port: int
    relay_port: int
    relay_password: str
    message_bytes: int = 1_048_576


def mosquitto(plan: BrokerPlan, salt: bytes) -> dict[str, str]:
    """Files for mosquitto 2, by name. SIGHUP makes it reload the lists; its configuration needs a restart."""
    lines = [
        "# For mosquitto 2: mosquitto -c this file, or include it. Made by `homeside kits broker-config`.",
        "per_listener_settings true",
        f"message_size_limit {plan.message_bytes}",
        "persistent_client_expiration 14d",
        "",
        "# The relay's own door.",
        f"listener {plan.relay_port} 127.0.0.1",
        "allow_anonymous false",
        f"password_file {plan.folder / MOSQUITTO_PASSWORDS}",
        f"acl_file {plan.folder / MOSQUITTO_RELAY_ACL}",
        "",
        "# Kits, by certificate. A kit's name is its client id, so that none can take another's connection over.",
        f"listener {plan.port}",
        "allow_anonymous false",
        "require_certificate true",
        "use_identity_as_username true",
        "use_username_as_clientid true",
        "tls_version tlsv1.2",
        f"cafile {plan.folder / AUTHORITY}",
        f"certfile {plan.certificate}",
        f"keyfile {plan.key}",
        f"crlfile {plan.folder / CRL}",
        f"acl_file {plan.folder / MOSQUITTO_ACL}",
    ]
    up = [f"pattern write {ROOT}/%u/{lane.value}" for lane in FROM_KITS]
    down = [f"pattern read {ROOT}/%u/{lane.value}" for lane in TO_KITS]
    return {
        MOSQUITTO: _lines(lines),
        MOSQUITTO_ACL: _lines([*up, *down]),
        MOSQUITTO_RELAY_ACL: _lines(["user relay", f"topic readwrite {ROOT}/#"]),
        MOSQUITTO_PASSWORDS: _lines([f"relay:{_mosquitto_hash(plan.relay_password, salt)}"]),
    }


def nats(plan: BrokerPlan, kits: Iterable[str]) -> dict[str, str]:
    """Files for nats-server 2.9 and later, by name. SIGHUP makes it reload both."""
    lines = [
        "# For nats-server 2.9 and later: nats-server -c this file. Made by `homeside kits broker-config`.",
        'server_name: "homeside"',
        f'listen: "127.0.0.1:{plan.relay_port}"',
        f'jetstream {{ store_dir: "{plan.folder / "jetstream"}" }}',
        f"max_payload: {plan.message_bytes}",
        "mqtt {",
        f'  listen: "0.0.0.0:{plan.port}"',
        "  tls {",
        f'    cert_file: "{plan.certificate}"',
        f'    key_file: "{plan.key}"',
        f'    ca_file: "{plan.folder / AUTHORITY}"',
        "    verify_and_map: true",
        "    timeout: 5",
        "  }",
        "}",
        f"include {NATS_KITS}",
    ]
    users = nats_kits(plan.relay_password, kits)
    return {NATS: _lines(lines), NATS_KITS: users, NATS_SECRET: plan.relay_password}


def nats_kits(relay_password: str, kits: Iterable[str]) -> str:
    """NATS users: every trusted kit, identified by its certificate, with its own subjects."""
    users = [f'    {{ user: "relay", password: "{relay_password}" }}']
    users += [_nats_user(kit) for kit in sorted(kits)]
    return _lines(["authorization {", "  users: [", *users, "  ]", "}"])


def _nats_user(kit: str) -> str:
    prefix = ROOT.replace("/", ".") + f".{kit}"
    up = ", ".join(f'"{prefix}.{lane.value}"' for lane in FROM_KITS)
    down = ", ".join(f'"{prefix}.{lane.value}"' for lane in TO_KITS)
    return (
        f'    {{ user: "urn:homeside:kit:{kit}", permissions: {{ publish: {{ allow: [{up}] }}, '
        f'subscribe: {{ allow: [{down}, "$MQTT.sub.>"] }} }} }}'
    )


def nats_can_name(kit: str) -> bool:
    """Whether NATS can use this kit's name: it separates subjects by dots, and before 2.10 allows none in an MQTT
    topic.
    """
    return "." not in kit


def _mosquitto_hash(password: str, salt: bytes) -> str:
    """A password hash as mosquitto_passwd makes it: PBKDF2 with SHA-512."""
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
    return f"$7${_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"
