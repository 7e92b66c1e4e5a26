"""`homeside install`: makes this machine a kit, a relay or both. Repeating it changes nothing; --undo reverses it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from provisioning.errors import InstallFailed, ProvisioningError
from provisioning.install.installer import Installer
from provisioning.install.layout import STARTED, Part, wanted

WITHIN_S = 120.0
install_app = typer.Typer(add_completion=False)


@install_app.command()
def install(
    parts: Annotated[list[Part] | None, typer.Argument(help="agent, relay, or both.")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Remove what was installed; data and keys stay.")] = False,
    root: Annotated[Path, typer.Option(help="Folder of the machine to install on.")] = Path("/"),
    start: Annotated[bool, typer.Option("--start/--no-start", help="Enable the services and start them.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Tell as JSON what was changed.")] = False,
) -> None:
    """Install this machine as a kit (agent) or a relay: users, folders, sandboxed units, and the links updates switch.

    Example: homeside install agent
    """
    here = root == Path("/")
    try:
        if undo:
            _systemctl(
                ["disable", "--now", *(unit for part in Part for unit in STARTED[part])], wanted_here=here, strict=False
            )
            changed = Installer(root).undo()
        else:
            chosen = parts or [Part.AGENT]
            release = Path(sys.prefix)
            changed = Installer(root).install(wanted(chosen, release / "share" / "homeside" / "systemd", release))
            _settle(chosen, changed, here=here, start=start)
        if here and changed:
            _systemctl(["daemon-reload"], wanted_here=here, strict=False)
    except ProvisioningError as error:
        typer.echo(f"homeside install: {error}", err=True)
        raise typer.Exit(2) from None
    _tell(changed, undo=undo, as_json=as_json)


def _settle(parts: list[Part], changed: list[str], *, here: bool, start: bool) -> None:
    """Create users and folders and handle the services, on this machine itself."""
    if not here:
        return
    _run(["systemd-sysusers"])
    _run(["systemd-tmpfiles", "--create", "homeside.conf"], strict=Path("/run/systemd/system").is_dir())
    _systemctl(["daemon-reload"], wanted_here=here, strict=False)
    if start:
        _systemctl(
            ["enable", "--now", *(unit for part in parts for unit in STARTED[part])], wanted_here=here, strict=True
        )


def _systemctl(words: list[str], *, wanted_here: bool, strict: bool) -> None:
    """Run systemctl only where systemd runs: in an image being built, the units wait for the first boot."""
    if wanted_here and Path("/run/systemd/system").is_dir():
        _run(["systemctl", *words], strict=strict)


def _run(words: list[str], *, strict: bool = True) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=WITHIN_S, check=False)  # noqa: S603  fixed words
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallFailed(f"{words[0]}: {error}") from None
    if strict and done.returncode:
        raise InstallFailed(f"{' '.join(words)}: {done.stderr.strip()}")


def _tell(changed: list[str], *, undo: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"undone" if undo else "changed": changed}))
        return
    for name in changed:
        typer.echo(f"{'took away' if undo else 'put'} /{name}")
    if not changed:
        typer.echo("Nothing to undo." if undo else "All is in place.")


if __name__ == "__main__":
    install_app()
