"""`homeside provision`: one card, or cards for a fleet from a table, with a report and labels."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from provisioning.durable import remove, write_whole
from provisioning.errors import ProvisioningError
from provisioning.image.card import write_card
from provisioning.image.claims import ClaimBook, RelayCaller
from provisioning.image.files import boot_files
from provisioning.image.plan import Plan, wifi
from provisioning.image.table import Row, read_table

provision_app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Prepare SD cards for kits.",
    epilog="Example:  homeside provision fleet kits.csv --out cards --relay https://relay:8443 --token-file token",
)
Relay = Annotated[str, typer.Option(help="Where kits reach the relay: https://host:port.")]
Fingerprint = Annotated[str, typer.Option(help="SHA-256 of the relay's root, as `homeside claims make` says it.")]
Zone = Annotated[str, typer.Option(help="Time zone, such as Europe/Berlin.")]
Network = Annotated[str, typer.Option(help="Wi-Fi network; empty for a cable.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="File whose first line is its password.", exists=True, dir_okay=False)
]
Country = Annotated[str, typer.Option(help="Country whose radio rules apply, such as DE.")]
SshKey = Annotated[
    Path | None, typer.Option(help="Public keys that may sign in; without, nobody may.", exists=True, dir_okay=False)
]
Package = Annotated[Path | None, typer.Option(help="homeside's Debian package.", exists=True, dir_okay=False)]
Keys = Annotated[Path | None, typer.Option(help="Public keys whose releases it takes.", exists=True, dir_okay=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Tell as JSON.")]


@provision_app.command()
def image(
    boot: Annotated[
        Path, typer.Argument(help="Where the card's boot partition is mounted.", exists=True, file_okay=False)
    ],
    kit: Annotated[str, typer.Option(help="The kit's name.")],
    relay: Relay,
    claim_file: Annotated[Path, typer.Option(help="File whose first line is the claim's code.", exists=True)],
    fingerprint: Fingerprint,
    timezone: Zone = "Etc/UTC",
    wifi_network: Network = "",
    wifi_password_file: PasswordFile = None,
    wifi_country: Country = "",
    ssh_key: SshKey = None,
    package: Package = None,
    release_keys: Keys = None,
    serial_port: Annotated[str, typer.Option(help="The sensor's port, such as /dev/ttyACM0.")] = "",
) -> None:
    """Prepare a flashed SD card for one kit, for whichever of cloud-init and firstrun.sh its Pi OS reads.

    Example: homeside provision image /media/bootfs --kit home-031 --relay https://relay:8443
    --claim-file claim.txt --fingerprint SHA256
    """
    with _told():
        plan = Plan(
            kit=kit,
            relay=relay,
            claim=_first_line(claim_file),
            fingerprint=fingerprint,
            zone=timezone,
            wifi=wifi(wifi_network, _first_line(wifi_password_file), wifi_country),
            ssh_keys=_lines(ssh_key),
            settings={"source.serial.port": serial_port} if serial_port else {},
            release_keys=release_keys.read_text() if release_keys is not None else "",
        )
        write_card(boot, plan, package, mounted=True)
    typer.echo(f"{kit}: the card is ready. Whoever holds it holds the claim until the kit has enrolled.")


@provision_app.command()
def fleet(
    table: Annotated[
        Path, typer.Argument(help="CSV: kit, and what differs; docs/fleet.md.", exists=True, dir_okay=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the cards, the report and the labels.")],
    relay: Relay,
    token_file: Annotated[Path, typer.Option(help="File whose first line is an admin's token.", exists=True)],
    ask: Annotated[str, typer.Option(help="Where to ask the relay, if not where kits do.")] = "",
    ca: Annotated[Path | None, typer.Option(help="The relay's root, PEM; else the system's.", exists=True)] = None,
    hours: Annotated[float, typer.Option(min=1, max=2160, help="Hours until the claims expire.")] = 24.0 * 30,
    timezone: Zone = "Etc/UTC",
    wifi_network: Network = "",
    wifi_password_file: PasswordFile = None,
    wifi_country: Country = "",
    ssh_key: SshKey = None,
    package: Package = None,
    release_keys: Keys = None,
    with_labels: Annotated[bool, typer.Option("--labels/--no-labels", help="labels.pdf, to print.")] = True,
    as_json: AsJson = False,
) -> None:
    """Prepare cards for all kits in a table. Can be interrupted and run again; finished cards are kept.

    Example: homeside provision fleet kits.csv --out cards --relay https://relay:8443 --token-file admin.token
    """
    with _told():
        rows = read_table(table.read_text("utf-8"))
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        caller = RelayCaller(ask or relay, _first_line(token_file), ca)
        fingerprint = str(caller.get("/identity/v1/authority")["fingerprint"])
        book = ClaimBook(out / "claims.json")
        with Progress(console=Console(stderr=True), disable=as_json or not sys.stderr.isatty()) as shown:
            claiming = shown.add_task("Claims", total=len(rows))
            book.make([row.kit for row in rows], caller.post, hours, lambda n: shown.update(claiming, completed=n))
            _expect(rows, caller)
            password = _first_line(wifi_password_file)
            plans = [
                _plan(
                    row,
                    relay,
                    fingerprint,
                    book,
                    (wifi_network, password, wifi_country),
                    timezone,
                    ssh_key,
                    release_keys,
                )
                for row in rows
            ]
            writing = shown.add_task("Cards", total=len(rows))
            done = []
            for plan in plans:
                done.append(_card(out / plan.kit, plan, package))
                shown.advance(writing)
        _report(out, rows, done)
        if with_labels:
            from provisioning.image.labels import labels

            write_whole(out / "labels.pdf", labels(plans), 0o600)
    told = {"kits": len(done), "written": sum(one == "written" for one in done), "out": str(out)}
    typer.echo(json.dumps(told) if as_json else f"{told['kits']} cards, {told['written']} of them new, in {out}")


def _plan(
    row: Row,
    relay: str,
    fingerprint: str,
    book: ClaimBook,
    network: tuple[str, str, str],
    zone: str,
    ssh_key: Path | None,
    release_keys: Path | None,
) -> Plan:
    own = tuple(
        row.get(f"wifi_{part}", usual) for part, usual in zip(("network", "password", "country"), network, strict=True)
    )
    settings = {"source.serial.port": row.get("serial_port")} if row.get("serial_port") else {}
    return Plan(
        kit=row.kit,
        relay=relay,
        claim=book.code(row.kit),
        fingerprint=fingerprint,
        zone=row.get("timezone", zone),
        wifi=wifi(*own),
        ssh_keys=_lines(ssh_key),
        settings=settings,
        release_keys=release_keys.read_text() if release_keys is not None else "",
    )


def _card(folder: Path, plan: Plan, package: Path | None) -> str:
    """`written`, or `there` when an earlier run has already written exactly this."""
    parts = [json.dumps(boot_files(plan)), package.name if package is not None else ""]
    mark = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    done = folder.with_name(f".{folder.name}.done")
    if folder.is_dir() and done.is_file() and done.read_text() == mark:
        return "there"
    done.unlink(missing_ok=True)
    remove(folder)
    folder.mkdir(mode=0o700)
    write_card(folder, plan, package, mounted=False)
    write_whole(done, mark.encode(), 0o600)
    return "written"


def _expect(rows: list[Row], caller: RelayCaller) -> None:
    """Announce the kits with their tags, so that the fleet page shows them from now on."""
    by_tags: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        by_tags.setdefault(tuple(row.tags), []).append(row.kit)
    for tags, kits in by_tags.items():
        caller.post("/fleet/api/v1/kits", {"kits": kits, "tags": list(tags)})


def _report(out: Path, rows: list[Row], done: list[str]) -> None:
    """A report of what was done, without secrets."""
    found: list[dict[str, Any]] = [
        {"kit": row.kit, "card": str(out / row.kit), "state": state, "tags": row.tags}
        for row, state in zip(rows, done, strict=True)
    ]
    write_whole(out / "report.json", json.dumps(found, indent=1).encode())
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["kit", "card", "state", "tags"])
    writer.writerows([one["kit"], one["card"], one["state"], ";".join(one["tags"])] for one in found)
    write_whole(out / "report.csv", text.getvalue().encode())


def _first_line(path: Path | None) -> str:
    return path.read_text("utf-8").split("\n", 1)[0].strip() if path is not None else ""


def _lines(path: Path | None) -> tuple[str, ...]:
    text = path.read_text("utf-8") if path is not None else ""
    return tuple(line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#"))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (ProvisioningError, UnicodeDecodeError) as error:
        typer.echo(f"homeside provision: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    provision_app()
