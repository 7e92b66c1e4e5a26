"""A kit's invitation: its name, the relay's address, a claim to be used once, and the fingerprint it is to trust.

As a TOML file, a link, a QR code of the link, and lines to read out; all hold the same values.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import typer

from relay.entrance.tls import lan_addresses
from relay.identity.store import Claim
from relay.settings import RelaySettings


def relay_address(settings: RelaySettings) -> str:
    """The HTTPS address at which kits reach this relay, as far as the relay knows it."""
    if settings.public_url.startswith("https://"):
        return settings.public_url.rstrip("/")
    return f"https://{lan_addresses()[0]}:{settings.tls.port}"


def invitation(claim: Claim, code: str, relay: str, fingerprint: str) -> dict[str, Any]:
    """The invitation's values by name. `claim` is the code, which is not stored and cannot be read again."""
    said = {"kit": claim.kit, "relay": relay, "claim": code, "fingerprint": fingerprint}
    link = "homeside:enrol?" + urlencode(said, quote_via=quote)
    return {**said, "link": link, "id": claim.id, "expires_at": claim.expires_at.isoformat()}


def invitation_toml(invited: dict[str, Any]) -> str:
    """The TOML file that `homeside enrol --from` reads."""
    return "".join(f"{name} = {json.dumps(invited[name])}\n" for name in ("kit", "relay", "claim", "fingerprint"))


def show(one: dict[str, Any], *, qr: bool) -> None:
    typer.echo(f"kit          {one['kit']}")
    typer.echo(f"relay        {one['relay']}")
    typer.echo(f"claim        {one['claim']}")
    typer.echo(f"fingerprint  {one['fingerprint']}")
    typer.echo(f"until        {one['expires_at']}\n")
    if qr:
        import segno

        segno.make(one["link"], error="l").terminal(compact=True)
