"""The single command `homeside PROGRAM ...`.

It knows only the programs' names and a line about each, and imports a program when it is called: `homeside --help`
answers at once, and a Pi without the relay's packages can still run the agent.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import importlib.metadata
from typing import Any, NamedTuple

import typer
import typer.core
import typer.main

OUR_PACKAGES = frozenset({"agent", "core", "firmware_bridge", "provisioning", "relay"})


class Program(NamedTuple):
    """Where a program's typer application is, the extras it needs, and a line of help."""

    target: str
    extras: str
    summary: str


PROGRAMS = {
    "relay": Program("relay.__main__:relay_app", "relay", "Run the relay: take in what kits send, serve browsers."),
    "agent": Program("agent.__main__:agent_app", "agent", "Run the agent: read this kit's sensors, send every sample."),
    "enrol": Program("agent.identity.__main__:enrol_app", "agent", "Exchange a claim for this kit's certificate."),
    "doctor": Program("agent.__main__:doctor_app", "agent", "Check this kit: what is wrong, and what to do about it."),
    "sensors": Program(
        "agent.sensors.__main__:sensors_app", "agent", "Find, test, watch, configure and update sensors."
    ),
    "bench": Program(
        "agent.vision.__main__:bench_app", "agent,vision", "Measure how fast this machine analyses pictures."
    ),
    "net-test": Program("agent.__main__:net_test_app", "agent,vision", "Find a network path for video to the relay."),
    "simulate": Program("provisioning.simulate:simulate_app", "agent", "Simulate a chest sensor on a pseudo-terminal."),
    "demo": Program(
        "provisioning.demo:demo_app", "agent,relay", "Run everything on this machine, with a simulated heart."
    ),
    "load": Program(
        "provisioning.load:load_app", "relay", "Load a relay with many kits and viewers; check for losses."
    ),
    "users": Program("relay.accounts.__main__:users_app", "relay", "Manage accounts: add, list, disable, passwd."),
    "assign": Program("relay.accounts.__main__:assign_app", "relay", "Assign a patient to a physiotherapist."),
    "recordings": Program(
        "relay.retention.__main__:recordings_app", "relay", "Retention of recordings: due, hold, release, held."
    ),
    "patients": Program("relay.accounts.__main__:patients_app", "relay", "Export or erase all data of a patient."),
    "token": Program("relay.__main__:token_app", "relay", "Print a signed token for a kit or a person."),
    "claims": Program(
        "relay.identity.__main__:claims_app", "relay", "Invite kits to enrol: make, list and revoke claims."
    ),
    "kits": Program("relay.identity.__main__:kits_app", "relay", "Enrolled kits: list, revoke, audit, authority."),
    "fleet": Program("relay.fleet.__main__:fleet_app", "relay", "Look after kits: list, show, tag, config, update, …"),
    "release": Program(
        "provisioning.release.__main__:release_app", "agent", "Signed releases: key, make, sign, verify."
    ),
    "updater": Program(
        "provisioning.updater.__main__:updater_app", "agent", "Update this kit to the release its operator chose."
    ),
    "install": Program(
        "provisioning.install.__main__:install_app", "agent", "Install this machine as a kit or a relay, or undo it."
    ),
    "provision": Program(
        "provisioning.image.__main__:provision_app", "relay", "Prepare SD cards for kits: image, fleet."
    ),
    "timers": Program("relay.__main__:timers_app", "relay", "List a relay's timers, or watch one in the terminal."),
}


def load(name: str) -> Any:
    """Import the program's command.

    If a package is not installed, the process ends with the remedy; an error of our own code is raised unchanged.
    """
    program = PROGRAMS[name]
    module, _, attribute = program.target.partition(":")
    gc.disable()  # nothing that is imported is garbage, and looking for it costs a fifth of a start
    try:
        application = getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in OUR_PACKAGES:
            raise
        typer.echo(
            f"homeside {name} needs the package {missing!r}, which is not installed here.\n"
            f"Install what it needs:  pip install 'homeside[{program.extras}]'",
            err=True,
        )
        raise typer.Exit(1) from None
    finally:
        gc.freeze()
        gc.enable()
    return typer.main.get_command(application)


class Programs(typer.core.TyperGroup):
    """Shows only a line per program in the help, and loads a program when it is called or completed."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, program in PROGRAMS.items():
            self.add_command(typer.core.TyperCommand(name, help=program.summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, sketch, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else sketch, rest


app = typer.Typer(
    cls=Programs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Example:  homeside demo --for 60   shows a simulated heart for a minute.",
)


def show_version(wanted: bool) -> None:
    if not wanted:
        return
    try:
        typer.echo(f"homeside {importlib.metadata.version('homeside')}")
    except importlib.metadata.PackageNotFoundError:
        typer.echo("homeside, run from its source folder and not installed")
    raise typer.Exit


@app.callback()
def about(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=show_version, help="Print the version and exit."
    ),
) -> None:
    """Bedside and home monitoring: an agent on a Raspberry Pi, a small relay, and their pages."""


def main() -> None:
    atexit.register(gc.freeze)  # ends at once: else the collector walks every object once more, a second for a relay
    app(prog_name="homeside")


if __name__ == "__main__":
    main()
