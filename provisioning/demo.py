"""`homeside demo`: a relay, a simulated chest sensor and an agent on this machine, each a process of its own.

The link to the heart is printed first; accounts to sign in with and running timers follow when they are ready. When one
program ends, all are stopped and its last log lines are shown; Ctrl-C stops them in an order that loses nothing:
sensor, agent, relay.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from provisioning.errors import ProvisioningError, SceneFailed
from provisioning.places import HOST, alone_in, choose_folder, choose_ports
from provisioning.programs import Program
from provisioning.scene import KIT, WALKING, Scene, Stage, camera_settings

READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05

demo_app = typer.Typer(add_completion=False)


class Demonstration:
    """The three programs in one folder, on two ports. `run` keeps them running until told to stop."""

    def __init__(self, folder: Path, port: int, mqtt_port: int, recording: Path | None) -> None:
        self.folder, self.port, self.mqtt_port = folder, port, mqtt_port
        self.link = folder / "sensor"
        logs = folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        played = ["--recording", str(recording)] if recording else []
        broker = f"mqtt://{HOST}:{mqtt_port}"
        ports = ["--host", HOST, "--port", str(port), "--mqtt-port", str(mqtt_port), "--care-port", "0"]
        ports += ["--signs-port", "0", "--translate-port", "0"]
        self.relay = Program("relay", ["relay", "--data", str(folder / "relay"), *ports], logs / "relay.log")
        self.sensor = Program("simulate", ["simulate", "--link", str(self.link), *played], logs / "simulate.log")
        source = ["--serial", str(self.link), "--broker", broker, "--kit", KIT, "--state", str(folder / "agent")]
        if WALKING.is_file():
            source += ["--config", str(camera_settings(folder, f"http://{HOST}:{port}"))]
        self.agent = Program("agent", ["agent", *source], logs / "agent.log")
        self.stage = Stage(folder / "relay", port, KIT if WALKING.is_file() else None)

    @property
    def programs(self) -> tuple[Program, ...]:
        """In the order of stopping, so that nothing is sent to a program that has ended."""
        return self.sensor, self.agent, self.relay

    async def run(self, seconds: float | None, stop: asyncio.Event, teller: Teller) -> None:
        """Start everything, print what there is to see, and return when `stop` is set or the time is over.

        Raises ProgramEnded as soon as one of the three ends by itself. None is left running.
        """
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        preparing = asyncio.create_task(asyncio.sleep(0))
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                return
            teller.ready(self, starting.result())
            preparing = asyncio.create_task(self._prepare(teller))
            await self._watch(stopping, seconds)
        finally:
            for task in (starting, stopping, preparing):
                task.cancel()
            *_, fault = await asyncio.gather(starting, stopping, preparing, return_exceptions=True)
            for program in self.programs:
                if program.process is not None:
                    teller.ended(program, await program.end())
        if isinstance(fault, Exception):
            raise fault

    async def _prepare(self, teller: Teller) -> None:
        """Prepare everything but the heart. If that fails, the heart continues and the reason is printed."""
        try:
            teller.prepared(await self.stage.prepare())
        except SceneFailed as error:
            teller.unprepared(error)

    async def _watch(self, stopping: asyncio.Task[Any], seconds: float | None) -> None:
        endings = {asyncio.create_task(program.ended()): program for program in self.programs}
        try:
            done, _ = await asyncio.wait({stopping, *endings}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            for ending in done - {stopping}:
                raise endings[ending].failure(f"ended by itself with exit code {ending.result()}")
        finally:
            for ending in endings:
                ending.cancel()

    async def _start(self) -> str:
        """The id of the session that the agent has started, once the relay knows it."""
        self.link.unlink(missing_ok=True)
        await self.sensor.start()
        await self.relay.start()
        await self._until(lambda: self._relay_has("/healthz"), self.relay, "answer")
        await self._until(self.link.exists, self.sensor, "serial port")
        await self.agent.start()
        begun = await self._until(lambda: self.agent.logged("session_started"), self.agent, "session")
        session = str(begun["session"])
        await self._until(lambda: self._relay_has(f"/api/v1/sessions/{session}"), self.relay, "session")
        return session

    async def _until(self, look: Callable[[], Any], program: Program, what: str) -> Any:
        """Poll `look` until it finds something; ProgramEnded when one of the three ends first or the time is over."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + READY_WITHIN_S
        while not (found := await asyncio.to_thread(look)):
            self._all_run()
            if loop.time() > deadline:
                raise program.failure(f"gave no {what} within {READY_WITHIN_S:.0f} s")
            await asyncio.sleep(LOOK_EVERY_S)
        return found

    def _all_run(self) -> None:
        for program in self.programs:
            if program.process is not None and program.process.returncode is not None:
                raise program.failure(f"ended with exit code {program.process.returncode}")

    def _relay_has(self, path: str) -> bool:
        asked = http.client.HTTPConnection(HOST, self.port, timeout=1.0)
        with contextlib.closing(asked), contextlib.suppress(OSError, http.client.HTTPException):
            asked.request("GET", path)
            return asked.getresponse().status == http.client.OK
        return False


class Teller:
    """Output for the person at the terminal, or as JSON lines for a program."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._out = Console(highlight=False, soft_wrap=True)

    def beginning(self) -> None:
        if not self._as_json:
            self._out.print("Starting the relay, a simulated chest sensor and an agent …")

    def ready(self, show: Demonstration, session: str) -> None:
        base = f"http://{HOST}:{show.port}"
        places = {
            "view": f"{base}/view/{session}",
            "sessions": f"{base}/",
            "measure": f"{base}/measure",
            "readiness": f"{base}/readyz",
            "metrics": f"{base}/metrics",
            "broker": f"mqtt://{HOST}:{show.mqtt_port}",
            "logs": str(show.folder / "logs"),
        }
        if self._as_json:
            processes = {program.name: program.pid for program in show.programs}
            self.line("demo_ready", session=session, processes=processes, **places)
            return
        link = places.pop("view")
        self._listed("A beating heart", [("watch it", link), *places.items()])
        self._out.print("The heart is simulated. Ctrl-C ends everything.")

    def prepared(self, scene: Scene) -> None:
        if self._as_json:
            self.line("demo_prepared", places=scene.places, sign_ins=scene.sign_ins)
            return
        people = [("sign in as", f"{email}   password {password}") for email, password in scene.sign_ins.items()]
        self._listed("And more to see", [*scene.places.items(), *people])

    def _listed(self, title: str, lines: list[tuple[str, str]]) -> None:
        """One entry per line, never truncated, however narrow the terminal, because a truncated link does not work."""
        self._out.print(f"\n[bold]{title}[/bold]")
        for name, thing in lines:
            self._out.print(f"  {name:<11} {thing}", markup=False)

    def unprepared(self, error: ProvisioningError) -> None:
        if self._as_json:
            self.line("demo_unprepared", code=error.code, message=str(error))
        else:
            self._out.print(f"The rest could not be prepared: {error}", markup=False)

    def ended(self, program: Program, code: int | None) -> None:
        if self._as_json:
            self.line("program_ended", program=program.name, code=code)
        else:
            self._out.print(f"Ended: {program.name}" + (f" (exit code {code})" if code else ""))

    def failed(self, error: ProvisioningError) -> None:
        if self._as_json:
            self.line("demo_failed", code=error.code, message=str(error))
        else:
            Console(stderr=True).print(f"homeside demo: {error}", markup=False, highlight=False, soft_wrap=True)

    def line(self, event: str, **told: Any) -> None:
        typer.echo(json.dumps({"event": event, **told}))


@demo_app.command()
def demo(
    port: Annotated[int, typer.Option(help="The relay's port; 0 takes a free one.")] = 8000,
    mqtt_port: Annotated[int | None, typer.Option(help="The broker's port; without it 1883, or a free one.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder for all it writes; without it .demo here.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", help="End by itself after so many seconds.")] = None,
    recording: Annotated[
        Path | None, typer.Option(help="A recording for the sensor to play.", exists=True, dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Tell as JSON lines what happens.")] = False,
) -> None:
    """Run a relay, a simulated chest sensor and an agent on this machine, and print links to open.

    Example: homeside demo --for 60 --port 8010
    """
    teller = Teller(as_json=as_json)
    try:
        folder = choose_folder(data)
        with alone_in(folder):
            show = Demonstration(folder, *choose_ports(port, mqtt_port), recording)
            asyncio.run(perform(show, seconds, teller))
    except ProvisioningError as error:
        teller.failed(error)
        raise typer.Exit(1) from None


async def perform(show: Demonstration, seconds: float | None, teller: Teller) -> None:
    """Run the demonstration until Ctrl-C, SIGTERM, a closed terminal or the end of its time."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    teller.beginning()
    await show.run(seconds, stop, teller)
