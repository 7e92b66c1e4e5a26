"""One relay in three forms (box, site, cluster): a TLS port for all APIs, none taken for another, nothing lost."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from relay.accounts.passwords import Passwords
from relay.accounts.store import AccountStore
from relay.auth import Role
from relay.db.engine import database_url, migrate, open_engine
from tests.cluster.program import ClusterProgram, pause
from tests.peers import Mosquitto, free_port, start_homeside
from tests.peers_postgres import Postgres
from tests.programs import RelayProgram, token

PASSWORD = "correct horse battery"
BOARD = {
    "sync_mode": "per_participant",
    "participants": [
        {"participant_id": who, "participant_index": index, "total_time_ms": 600_000} for index, who in enumerate("ab")
    ],
}


@dataclass(frozen=True)
class Form:
    """Where it answers, and how its broker is made to go away and come back."""

    name: str
    plain: list[str]
    public: str
    brokers: list[str]
    staff: str
    database: str
    data: Path
    broker_goes: Callable[[], None]

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.staff}"}
        return httpx.Client(base_url=self.public, headers=headers, verify=False, timeout=30)

    def measured(self) -> set[str]:
        """Sessions of a load's kits, as its first relay lists them."""
        listed = httpx.get(f"{self.plain[0]}/api/v1/sessions", timeout=30).json()["sessions"]
        return {line["sessionId"] for line in listed if line["source"].startswith("kit load")}


def tls(port: int, **more: str) -> dict[str, str]:
    names = {"TLS__ENABLED": "true", "TLS__HOST": "127.0.0.1", "TLS__PORT": str(port), **more}
    return {f"HOMESIDE_RELAY_{key}": value for key, value in names.items()}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Form]:
    port, data = free_port(), tmp_path_factory.mktemp("box")
    relays = [RelayProgram(data, env=tls(port))]

    def again() -> None:
        relays[0].kill()
        relays[0] = relays[0].again()

    one = relays[0]
    broker = f"mqtt://127.0.0.1:{one.mqtt_port}"
    yield Form("box", [one.http], f"https://127.0.0.1:{port}", [broker], staff(data), "", data, again)
    relays[0].stop()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Form]:
    port, data = free_port(), tmp_path_factory.mktemp("site")
    mosquitto = Mosquitto(tmp_path_factory.mktemp("mosquitto"))
    mosquitto.start()
    url = postgres.database()
    relay = RelayProgram(data, env=tls(port, DATABASE_URL=url, MQTT__URL=mosquitto.url))

    def again() -> None:
        mosquitto.kill()
        pause(1.0)
        mosquitto.start()

    yield Form("site", [relay.http], f"https://127.0.0.1:{port}", [mosquitto.url], staff(data), url, data, again)
    relay.stop()
    mosquitto.stop()


@pytest.fixture(scope="module")
def form(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Form:
    if request.param != "cluster":
        return request.getfixturevalue(request.param)  # type: ignore[no-any-return]
    cluster: ClusterProgram = request.getfixturevalue("cluster")
    cluster.wait_ready()
    brokers = [f"mqtt://127.0.0.1:{port}" for port in cluster.mqtt_ports]
    data = cluster.folder / "relay-1"
    public = cluster.tls[1]
    staff_ = cluster.token()
    goes = partial(cluster.kill, "nats-1")
    return Form("cluster", cluster.relays, public, brokers, staff_, cluster.database, data, goes)


pytestmark = pytest.mark.parametrize("form", ["box", "site", "cluster"], indirect=True)


def staff(data: Path) -> str:
    return token(data, "--role", "admin")


async def people(form: Form) -> tuple[str, str]:
    """A physiotherapist's address and her patient's id."""
    engine = open_engine(database_url(form.database, form.data))
    await migrate(engine)
    store, hashed, mark = AccountStore(engine), Passwords().hash(PASSWORD), uuid4().hex[:6]
    agreed = {"first_name": "John", "last_name": "Doe", "consent_at": datetime.now(UTC)}
    patient = await store.add(f"john-{mark}@example.org", hashed, Role.PATIENT, **agreed)
    await store.add(f"smith-{mark}@example.org", hashed, Role.PHYSIOTHERAPIST, first_name="S", last_name="S")
    await store.assign(f"john-{mark}@example.org", f"smith-{mark}@example.org", True)
    await engine.dispose()
    assert patient.patient_id is not None
    return f"smith-{mark}@example.org", patient.patient_id


async def test_one_tls_port_answers_for_every_api(form: Form) -> None:
    smith, patient = await people(form)
    with form.client() as client:
        begun = client.post("/scg/api/v1/sessions")
        assert begun.status_code == 200
        assert begun.json()["websocketUrl"].startswith(form.public.replace("https", "wss", 1) + "/scg/ws/")
        signed = client.post("/physio/api/auth/login", json={"email": smith, "password": PASSWORD}).json()["data"]
        planned = client.post(
            "/physio/api/sessions",
            headers={"Authorization": f"Bearer {signed['access_token']}"},
            json={
                "patient_id": patient,
                "exercise_type": "squat",
                "scheduled_datetime": "2026-01-30T10:00:00Z",
                "estimated_duration": 60,
                "instructions": "Perform 10 squats",
            },
        )
        assert planned.status_code == 201, planned.text
        assert planned.json()["upload_urls"]["video"].startswith(form.public)
        board = client.post("/timers/v1/sessions", json={"session_id": uuid4().hex, **BOARD})
        assert (board.status_code, board.json()["version"]) == (201, 1)
        said = client.post("/signs/api/v1/translate", json={"sign_sequence": [*"HELLO"], "session_id": uuid4().hex})
        assert said.json()["translation"].lower().startswith("hello"), said.text
        offer = client.post("/video/api/offer", json={"sdp": "v=0", "type": "answer"})
        assert (offer.status_code, offer.json()) == (400, {"detail": "Expected type 'offer', got 'answer'"})
    url = form.public.replace("https", "wss", 1) + f"/signs/ws/sign-detection?token={form.staff}"
    async with connect(url, ssl=trusting(), open_timeout=20) as socket:
        await socket.send(json.dumps({"type": "command", "payload": {"action": "start", "session_id": "s"}}))
        assert json.loads(await asyncio.wait_for(socket.recv(), 20))["type"] == "command"


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_one_port_keeps_the_lists_apart_whoever_asks(form: Form) -> None:
    with form.client() as client:
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Accept": "text/html"}):
            physio = client.get("/physio/api/sessions", headers=headers)
            video = client.get("/video/api/sessions", headers=headers)
            assert {"success", "meta"} <= set(physio.json())
            assert set(video.json()) in ({"active_sessions", "count"}, {"detail"})


async def test_sign_detection_is_no_heart_session(form: Form) -> None:
    """It is answered by the signs, or refused before it opens; never closed as a session's id that is none."""
    for base in form.plain:
        url = base.replace("http", "ws", 1) + "/ws/sign-detection"
        status = await handshake(url)
        assert status in (101, 403, 404)
        if status == 101:
            async with connect(url, open_timeout=20) as socket:
                await socket.send(json.dumps({"type": "command", "payload": {"action": "start", "session_id": "s"}}))
                assert json.loads(await asyncio.wait_for(socket.recv(), 20))["type"] == "command"


async def handshake(url: str) -> int:
    try:
        async with connect(url, open_timeout=20):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def test_each_api_refuses_in_its_own_words(form: Form) -> None:
    def of(path: str) -> dict[str, Any]:
        answer = client.get(path)
        assert answer.status_code == 404, (path, answer.text)
        return dict(answer.json())

    with form.client() as client:
        assert of(f"/scg/api/v1/sessions/{uuid4()}") == {"detail": "Session not found"}
        assert set(of("/timers/v1/sessions/nowhere")) == {"error"}
        assert {"success", "error", "meta"} <= set(of("/physio/api/nowhere"))
        assert set(of(f"/signs/api/v1/context/{uuid4()}")) == {"error", "message", "code"}
        assert set(of(f"/video/api/session/{uuid4()}")) == {"detail"}


@pytest.mark.timeout(240)
def test_a_broker_that_goes_loses_nothing(form: Form) -> None:
    words = ["--kits", "4", "--viewers", "4", "--seconds", "8", "--patience", "90", "--check", "--json"]
    before = form.measured()
    load = start_homeside("load", *words, "--broker", ",".join(form.brokers), "--relay", ",".join(form.plain))
    load.wait_until(lambda: len(form.measured() - before) == 4, "all kits' first samples", 60.0)
    form.broker_goes()
    assert load.wait(200) == 0, load.tail()
    said = load.entries()[-1]
    assert said["kits"]["waiting"] == 0
    assert said["kits"]["connections"] > 4 or form.name == "cluster"
    assert said["check"]["stored"] == said["check"]["expected"] >= 4 * 700
