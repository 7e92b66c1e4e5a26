"""What a demonstration shows beside the heart: accounts, an exercise in front of a camera, running timers.

Everything is created as a user would: by the relay's commands and its documented APIs. Passwords are generated each
time and shown once; there is no default one.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import secrets
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from provisioning.errors import SceneFailed
from provisioning.places import HOST

PHYSIOTHERAPIST, PATIENT, OPERATOR = "anna@demo.homeside", "pat@demo.homeside", "operator@demo.homeside"
KIT = "demo"
WALKING = Path(__file__).with_name("media") / "walking.mp4"
"""A woman walking (from the sports2d package, fetched by hash at installation): the picture where
there is no camera."""
COMMAND_WITHIN_S = 60.0
REQUEST_WITHIN_S = 10.0
TURN_MS = 30_000


class Person(NamedTuple):
    email: str
    role: str
    first_name: str
    last_name: str


PEOPLE = (
    Person(OPERATOR, "admin", "Olga", "Operator"),
    Person(PHYSIOTHERAPIST, "physiotherapist", "Anna", "Physio"),
    Person(PATIENT, "patient", "Pat", "Patient"),
)


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to look at: names, addresses, and the accounts to sign in with."""

    places: dict[str, str]
    sign_ins: dict[str, str]


def camera_settings(folder: Path, relay: str) -> Path:
    """Agent settings for a camera that plays WALKING, shown through `relay` only as far as somebody agrees."""
    path = folder / "agent.toml"
    path.write_text(
        f"[source.camera]\ndevice = {json.dumps(str(WALKING))}\nloop = true\n\n[video]\nrelay = {json.dumps(relay)}\n"
    )
    return path


class Stage:
    """Prepares the scene on a running relay. `prepare` raises SceneFailed with the reason.

    `kit`: the one whose camera sees the exercise; None leaves that out.
    """

    def __init__(self, data: Path, port: int, kit: str | None) -> None:
        self._data, self._port, self._kit = data, port, kit

    async def prepare(self) -> Scene:
        known = {one["email"] for one in json.loads(await self._homeside("users", "list", "--json"))}
        token, *passwords = await asyncio.gather(
            self._homeside("token", "--role", "physiotherapist", "--name", "demo"),
            *(self._person(person, is_known=person.email in known) for person in PEOPLE),
        )
        await self._homeside("assign", PATIENT, PHYSIOTHERAPIST)
        timer = await asyncio.to_thread(self._timer, token.strip())
        sign_ins = dict(zip((person.email for person in PEOPLE), passwords, strict=True))
        base = f"http://{HOST}:{self._port}"
        places = {
            "timers": f"{base}/timer/{timer}?token={token.strip()}",
            "exercises": f"{base}/app/",
            "signing": f"{base}/signing",
            "fleet": f"{base}/app/fleet",
        }
        if self._kit is not None:
            session = await asyncio.to_thread(self._exercise, self._kit, sign_ins)
            places |= {"exercises": f"{base}/app/?next=/app/session/{session}", "cameras": f"{base}/watch"}
        return Scene(places, sign_ins)

    async def _person(self, person: Person, *, is_known: bool) -> str:
        """Create an account with a new password; one left by an earlier demonstration gets a new password too."""
        password = secrets.token_urlsafe(9)
        consent = ["--consent"] if person.role == "patient" else []
        names = ["--first-name", person.first_name, "--last-name", person.last_name]
        words = ["passwd", person.email] if is_known else ["add", person.email, "--role", person.role, *names, *consent]
        await self._homeside("users", *words, said=password)
        return password

    def _timer(self, token: str) -> str:
        """Create the timer: squats, a pause, heel raises; half a minute each, repeating."""
        name = f"exercises-{secrets.token_hex(3)}"
        people = [
            {"participant_id": what, "participant_index": at, "total_time_ms": TURN_MS}
            for at, what in enumerate(("Squats", "Rest", "Heel raises"))
        ]
        wanted = {"session_id": name, "sync_mode": "per_cycle", "participants": people}
        self._ask("POST", "/timers/v1/sessions", token, {**wanted, "time_per_cycle_ms": TURN_MS, "auto_advance": True})
        self._ask("POST", f"/timers/v1/sessions/{name}/start", token, {})
        return name

    def _exercise(self, kit: str, sign_ins: dict[str, str]) -> str:
        """Create a session of the patient's, which the kit's camera sees from now on."""
        bearer = self._signed_in(PHYSIOTHERAPIST, sign_ins)
        patient = self._ask("GET", "/physio/api/physio/patients", bearer)["data"][0]["patient_id"]
        wanted = {"patient_id": patient, "exercise_type": "walking", "estimated_duration": 600}
        when = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        session = self._ask("POST", "/physio/api/sessions", bearer, {**wanted, "scheduled_datetime": when})[
            "session_id"
        ]
        self._ask("PUT", f"/physio/api/sessions/{session}/kit", bearer, {"kit": kit})
        return str(session)

    def _signed_in(self, email: str, sign_ins: dict[str, str]) -> str:
        body = {"email": email, "password": sign_ins[email]}
        return str(self._ask("POST", "/physio/api/auth/login", "", body)["data"]["access_token"])

    def _ask(self, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> Any:
        asked = http.client.HTTPConnection(HOST, self._port, timeout=REQUEST_WITHIN_S)
        try:
            headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
            asked.request(method, path, None if body is None else json.dumps(body), headers)
            answer = asked.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except OSError as error:
            raise SceneFailed(f"the relay does not answer {method} {path}: {error}") from None
        finally:
            asked.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise SceneFailed(f"the relay answered {method} {path} with {answer.status}: {text[:300]}")
        return json.loads(text or "null")

    async def _homeside(self, *words: str, said: str = "") -> str:
        """Run a `homeside` command and return its output.

        `said` is its input, because passwords are never given as options.
        """
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "homeside", *words, "--data", str(self._data)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, words_of_error = await asyncio.wait_for(child.communicate(said.encode() + b"\n"), COMMAND_WITHIN_S)
        except (TimeoutError, asyncio.CancelledError):
            child.kill()
            await child.wait()
            raise
        if child.returncode:
            told = words_of_error.decode("utf-8", "replace").strip()
            raise SceneFailed(f"`homeside {' '.join(words)}` ended with {child.returncode}: {told[-300:]}")
        return out.decode()
