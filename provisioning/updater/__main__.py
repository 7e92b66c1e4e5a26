"""`homeside updater`: one pass, started by a timer or by the note that the agent leaves; it ends when everything is
done.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import structlog
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from core.contracts.bundle import read_manifest
from core.contracts.errors import ContractError
from core.contracts.fleet import Updated, UpdateState
from core.contracts.release import decode_keys
from provisioning.errors import ProvisioningError, SettingsError, Unreachable, UpdateRefused
from provisioning.settings import UpdaterSettings, load_updater
from provisioning.updater.fetch import fetch
from provisioning.updater.slots import Slots
from provisioning.updater.updater import Health, Note, Updater

RESTART_WITHIN_S = 120.0
EXIT = {UpdateState.REFUSED: 1, UpdateState.ROLLED_BACK: 1}

updater_app = typer.Typer(add_completion=False)


@updater_app.command()
def updater(
    config: Annotated[Path | None, typer.Option(help="Settings as a TOML file; docs/settings.md lists them.")] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Take this bundle, from a stick or a shared folder.", exists=True, dir_okay=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Update this kit to the release chosen for it, and go back if that release does not work.

    Example: homeside updater --bundle homeside-1.4.2.tar
    """
    _log_to_standard_error()
    try:
        settings = load_updater(config)
        with _alone(settings.state):
            note = _note_of(bundle, settings) if bundle is not None else _note(settings.wanted)
            outcome = build(settings, note).run(note)
    except Unreachable as error:
        typer.echo(f"homeside updater: {error}. Tried again later.", err=True)
        raise typer.Exit(0) from None
    except ProvisioningError as error:
        typer.echo(f"homeside updater: {error}", err=True)
        raise typer.Exit(2) from None
    except OSError as error:
        typer.echo(f"homeside updater: the disk does not take it: {error.strerror}. Tried again later.", err=True)
        raise typer.Exit(2) from None
    _say(outcome, as_json=as_json)
    raise typer.Exit(EXIT.get(outcome.state, 0) if outcome is not None else 0)


def _log_to_standard_error() -> None:
    stamps: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.JSONRenderer(),
    ]
    structlog.configure(processors=stamps, logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))


def build(settings: UpdaterSettings, note: Note | None) -> Updater:
    """The updater for this machine."""
    return Updater(
        Slots(settings.root, system_packages=settings.system_packages),
        settings.state,
        keys=lambda: _keys(settings.keys),
        platform=(f"cp{sys.version_info.major}{sys.version_info.minor}", platform.machine()),
        fetch=lambda wanted, target: fetch(_sources(settings, wanted), target, wanted.sha256, settings.ca),
        restart=lambda: _restart(settings.restart),
        health=lambda: _health(settings.health),
        healthy_within_s=settings.healthy_within_s,
        room=lambda: shutil.disk_usage(settings.root).free,
    )


def _sources(settings: UpdaterSettings, note: Note) -> list[str]:
    """The sources to try: mirrors first, where the bundle has the same file name as in the relay's address."""
    name = note.url.split("?", 1)[0].rsplit("/", 1)[-1]
    found = [f"{mirror.rstrip('/')}/{name}" for mirror in settings.mirrors if name]
    return [*found, note.url] if note.url else found


def _keys(path: Path) -> list[Ed25519PublicKey]:
    try:
        return decode_keys(path.read_text())
    except OSError as error:
        raise UpdateRefused(f"no key is trusted here: {path}: {error.strerror}") from None
    except ContractError as error:
        raise UpdateRefused(f"{path}: {error}") from None


def _note(path: Path) -> Note | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Note)
    except (OSError, msgspec.MsgspecError):
        return None


def _note_of(bundle: Path, settings: UpdaterSettings) -> Note:
    with bundle.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stream.seek(0)
        try:
            manifest = read_manifest(stream, _keys(settings.keys))
        except ContractError as error:
            raise UpdateRefused(f"{bundle.name}: {error}") from None
    return Note(manifest.version, digest, str(bundle.resolve()))


def _restart(words: tuple[str, ...]) -> None:
    try:
        subprocess.run(words, check=True, timeout=RESTART_WITHIN_S, capture_output=True)  # noqa: S603  the operator's own
    except subprocess.TimeoutExpired:
        raise OSError(f"{words[0]} took longer than {RESTART_WITHIN_S:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise OSError(f"{' '.join(words)} ended with {error.returncode}") from None


def _health(path: Path) -> Health:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Health)
    except (OSError, msgspec.MsgspecError):
        return Health()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Ensure a single updater per machine: the timer and the note may start two at once."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except PermissionError as error:
        raise SettingsError(f"{folder}: {error.strerror}; the updater runs as root") from None


def _say(outcome: Updated | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(outcome)))
    elif outcome is None:
        typer.echo("Nothing to do.")
    else:
        typer.echo(f"homeside {outcome.version}: {outcome.state.value.replace('_', ' ')}. {outcome.problem}".strip())


if __name__ == "__main__":
    updater_app()
