"""`homeside enrol`: from an invitation to this kit's certificate and settings."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Annotated

import typer

from agent.errors import AgentError, RelayAway
from agent.identity.enrol import Enrolled, Invitation, enrol
from agent.identity.folder import IdentityFolder
from agent.identity.settings import read_invitation
from agent.settings import state_folder

enrol_app = typer.Typer(add_completion=False)
TRY_LATER = 75
"""EX_TEMPFAIL of sysexits.h: the command may succeed if repeated."""
WAIT_S = (2.0, 60.0)
CLOCK_OFF_S = 60.0


@enrol_app.command("enrol")
def enrol_command(
    invitation: Annotated[Path | None, typer.Option("--from", help="TOML with kit, relay, claim, fingerprint.")] = None,
    kit: Annotated[str | None, typer.Option(help="The name the claim was made for.")] = None,
    relay: Annotated[str | None, typer.Option(help="The relay: https://host:port.")] = None,
    fingerprint: Annotated[str | None, typer.Option(help="SHA-256 of the relay's root, as `claims make` says.")] = None,
    claim: Annotated[
        str | None, typer.Option(help="The claim's code; better in the file, where ps cannot see.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="The agent's state folder.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Enrol anew although this kit is enrolled.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Keep trying until the relay can be reached.")] = False,
    set_clock: Annotated[bool, typer.Option("--set-clock", help="Set this machine's clock by the relay's.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object.")] = False,
) -> None:
    """Exchange a claim for this kit's certificate; `homeside agent` finds it, and renews it by itself.

    Ends with 0 when enrolled, 75 when it is worth another try, 2 otherwise. May be repeated after a power cut.

    Example: homeside enrol --from /boot/firmware/homeside-enrol.toml --wait
    """
    given = {"kit": kit, "relay": relay, "claim": claim, "fingerprint": fingerprint}
    try:
        invited = read_invitation(invitation, {name: value for name, value in given.items() if value is not None})
        made = _tried(IdentityFolder(state or state_folder()), invited, again=again, wait=wait)
    except AgentError as error:
        typer.echo(f"homeside enrol: {error}", err=True)
        raise typer.Exit(TRY_LATER if isinstance(error, RelayAway) else 2) from None
    if set_clock and made.now_s:
        _set_clock(made.now_s)
    _tell(made, as_json=as_json)


def _tried(folder: IdentityFolder, given: Invitation, *, again: bool, wait: bool) -> Enrolled:
    pause = WAIT_S[0]
    while True:
        try:
            return enrol(folder, given, again=again)
        except RelayAway as error:
            if not wait:
                raise
            typer.echo(f"homeside enrol: {error}; trying again in {pause:.0f} s", err=True)
            time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, WAIT_S[1])


def _set_clock(now_s: int) -> None:
    if abs(time.time() - now_s) <= CLOCK_OFF_S:
        return
    try:
        time.clock_settime(time.CLOCK_REALTIME, now_s)
    except OSError as error:
        typer.echo(f"homeside enrol: the clock is wrong and cannot be set: {error.strerror}", err=True)


def _tell(made: Enrolled, *, as_json: bool) -> None:
    held = made.held
    until = held.certificate.not_valid_after_utc
    if as_json:
        typer.echo(json.dumps({"kit": held.kit, "serial": held.serial, "notAfter": int(until.timestamp())}))
    else:
        typer.echo(f"{held.kit} is enrolled; its certificate holds until {until:%Y-%m-%d}")


if __name__ == "__main__":
    enrol_app()
