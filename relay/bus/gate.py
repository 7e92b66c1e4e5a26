"""Who is admitted to the broker inside the relay, and which topics each client may write and read. No I/O.

A kit proves its name by its certificate or, without one, by its token; it reaches only its own lanes. An open gate (on
loopback without TLS) admits everybody, except a client that claims to be the relay without the relay's password.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from amqtt.contexts import Action

from core.contracts import topics
from relay.auth import Role, Tokens
from relay.bus.packets import Connect
from relay.clock import Clock
from relay.entrance.certificates import Shown
from relay.entrance.standing import Standing
from relay.errors import Unauthorized

RELAY_USER = "relay"


@dataclass
class Gate:
    """Who is admitted, and to which topics."""

    tokens: Tokens
    clock: Clock
    standing: Standing = field(default_factory=Standing)
    relay_password: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    open: bool = True
    takes_tokens: bool = True

    def admits(self, said: Connect, shown: Shown | None) -> str | None:
        """The name that a client has proved, or None to refuse it.

        On an open gate the name is not checked and may be empty.
        """
        if said.username == RELAY_USER:
            good = secrets.compare_digest((said.password or "").encode(), self.relay_password.encode())
            return RELAY_USER if good else None
        if self.open:
            return said.username or ""
        name = self._by_certificate(said, shown) if shown is not None else self._by_token(said)
        if name is not None and said.will is not None and not self.reaches(name, said.will[0], Action.PUBLISH):
            return None
        return name

    def _by_certificate(self, said: Connect, shown: Shown) -> str | None:
        agrees = said.username in (None, "", shown.kit)
        return shown.kit if agrees and self.standing.trusts_certificate(shown.kit, shown.serial) else None

    def _by_token(self, said: Connect) -> str | None:
        if not self.takes_tokens:
            return None
        try:
            who = self.tokens.read(said.password or "", now_s=self.clock.now_ms() / 1000)
        except Unauthorized:
            return None
        good = who.role is Role.KIT and who.subject == said.username and topics.valid_kit(who.subject)
        return who.subject if good and self.standing.refusal(who) is None else None

    def still_trusts(self, name: str, shown: Shown | None, since_s: float) -> bool:
        if self.open or name == RELAY_USER:
            return True
        if shown is not None:
            return self.standing.trusts_certificate(name, shown.serial)
        return self.standing.trusts_token(name, since_s)

    def reaches(self, username: str | None, topic: str, action: Action) -> bool:
        """A kit writes its upward lanes and reads its downward lanes.

        The relay does both; so do all on an open gate.
        """
        if username == RELAY_USER or self.open:
            return True
        found = topics.parse(topic)
        if found is None or found.kit != username:
            return False
        lanes = topics.FROM_KITS if action is Action.PUBLISH else topics.TO_KITS
        return found.lane in lanes
