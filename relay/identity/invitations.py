"""What a kit is invited with: its name, where the relay is, a claim to spend once, and whom it is to trust there.

As a TOML file, as a link, as a picture of it, and as lines to read out; the same words in each.
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
    """Where kits reach this relay over HTTPS, as far as it knows."""
    if settings.public_url.startswith("https://"):
        return settings.public_url.rstrip("/")
    return f"https://{lan_addresses()[0]}:{settings.tls.port}"


def invitation(claim: Claim, code: str, relay: str, fingerprint: str) -> dict[str, Any]:
    """Its words by name; `claim` is the code, which nobody can read again."""
    said = {"kit": claim.kit, "relay": relay, "claim": code, "fingerprint": fingerprint}
    link = "homeside:enrol?" + urlencode(said, quote_via=quote)
    return {**said, "link": link, "id": claim.id, "expires_at": claim.expires_at.isoformat()}


def invitation_toml(invited: dict[str, Any]) -> str:
    """What `homeside enrol --from` reads."""
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
