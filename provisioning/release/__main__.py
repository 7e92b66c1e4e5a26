"""`homeside release`: make a key, pack a bundle, sign it, check it."""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from core.contracts.errors import ContractError
from core.contracts.release import FORMAT, Manifest, decode_keys, encode_key
from provisioning.errors import ProvisioningError, ReleaseUnusable
from provisioning.release import bundle, contents

release_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Releases for a fleet: key, make, sign, verify.",
    epilog="Example:  homeside release sign homeside-1.4.2.unsigned.tar --key release.pem   signs a bundle.",
)
Extras = Annotated[str, typer.Option(help="What the bundle is to run, such as agent or agent,relay.")]
Key = Annotated[Path, typer.Option(help="The private key, PEM.", exists=True, dir_okay=False)]


@release_app.command()
def key(
    path: Annotated[Path, typer.Argument(help="Where the private key is to be written.")],
    name: Annotated[str, typer.Option(help="A word to know the key by.")] = "release",
) -> None:
    """Create a signing key and print its public line, for relays and kits to trust.

    Example: homeside release key release.pem >> release-keys
    """
    with _told():
        typer.echo(encode_key(bundle.make_key(path).public_key(), name))


@release_app.command()
def lock(
    path: Annotated[Path, typer.Argument(help="The whole lock.", exists=True, dir_okay=False)],
    extras: Extras = "agent",
) -> None:
    """Print the part of a lock file that the given extras need, for pip to fetch the wheels.

    Example: homeside release lock locks/runtime.txt --extras agent > agent.txt
    """
    with _told():
        typer.echo(contents.lock_for(path.read_text(), contents.needed(extras.split(","))), nl=False)


@release_app.command()
def make(
    wheels: Annotated[Path, typer.Option(help="Folder of the wheels, homeside's own among them.", exists=True)],
    lock_file: Annotated[Path, typer.Option("--lock", help="The lock they are from.", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="The unsigned bundle to write.")],
    models: Annotated[Path | None, typer.Option(help="Folder of models to take along.", exists=True)] = None,
    notes: Annotated[str, typer.Option(help="A sentence for operators.")] = "",
    anywhere: Annotated[
        bool, typer.Option("--anywhere", help="The bundle runs on any machine, not only on this kind.")
    ] = False,
) -> None:
    """Pack an unsigned bundle: wheels, lock, models and a bill of materials (CycloneDX).

    Example: homeside release make --wheels build/wheels --lock agent.txt --out homeside-1.4.2.unsigned.tar
    """
    with _told(), tempfile.TemporaryDirectory() as scratch:
        text = lock_file.read_text()
        found = [contents.read_wheel(path) for path in sorted(wheels.glob("*.whl"))]
        contents.check_against(text, found, contents.pins(text))
        version = next(wheel.version for wheel in found if wheel.name == contents.OURS)
        parts = Path(scratch) / "sbom.cdx.json"
        parts.write_text(json.dumps(contents.sbom(version, found), indent=1))
        files = {f"wheels/{wheel.path.name}": wheel.path for wheel in found}
        files |= {f"models/{path.name}": path for path in sorted(models.iterdir())} if models is not None else {}
        files |= {"lock.txt": lock_file, "sbom.cdx.json": parts}
        made = datetime.now(UTC).isoformat(timespec="seconds")
        python = "" if anywhere else f"cp{sys.version_info.major}{sys.version_info.minor}"
        machine = "" if anywhere else platform.machine()
        whole = bundle.pack(out, files, Manifest(FORMAT, version, made, {}, python, machine, notes))
    typer.echo(f"{out}: homeside {whole.version}, {len(found)} wheels, {whole.size >> 20} MiB, not signed")


@release_app.command()
def sign(
    unsigned: Annotated[Path, typer.Argument(help="The bundle from `release make`.", exists=True, dir_okay=False)],
    key: Key,
    out: Annotated[Path | None, typer.Option(help="The signed bundle; without it, the name less .unsigned.")] = None,
) -> None:
    """Sign a bundle, after checking it against its manifest.

    Example: homeside release sign homeside-1.4.2.unsigned.tar --key release.pem
    """
    target = out or unsigned.with_name(unsigned.name.replace(".unsigned", ""))
    with _told():
        if target == unsigned:
            raise ReleaseUnusable("give --out: the signed bundle cannot take the unsigned one's place")
        manifest = bundle.sign(unsigned, target, bundle.load_key(key))
    typer.echo(f"{target}: homeside {manifest.version}, signed")


@release_app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="A signed bundle.", exists=True, dir_okay=False)],
    keys: Annotated[Path, typer.Option(help="The file of trusted public keys.", exists=True, dir_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Check a bundle as a kit would: the signature, every file, and that nothing is missing or added.

    Example: homeside release verify homeside-1.4.2.tar --keys release-keys
    """
    with _told():
        try:
            trusted = decode_keys(keys.read_text())
        except ContractError as error:
            raise ReleaseUnusable(f"{keys}: {error}") from None
        found = bundle.verify(path, trusted)
    if as_json:
        typer.echo(json.dumps({"version": found.version, "made": found.made, "files": len(found.files)}))
    else:
        typer.echo(f"{path.name}: homeside {found.version} of {found.made}, {len(found.files)} files, all as signed")


@contextmanager
def _told() -> Iterator[None]:
    """Turn an error into its message and exit code 2."""
    try:
        yield
    except ProvisioningError as error:
        typer.echo(f"homeside release: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    release_app()
