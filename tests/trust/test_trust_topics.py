"""A kit can never read or write another's topics: tried on the broker inside, on mosquitto and on NATS, each real.

What is tried: publishing to another's lanes, directly and by a last will; subscribing to them, plainly, by wildcard,
and by taking over the session of another's client id; and what the broker retains.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nats
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from relay.identity.authority import PEM, own_authority, private_pem
from tests.peers import Child, find_peer, free_port, listens
from tests.trust.attackers import Client
from tests.trust.enrolling import TrustingRelay
from tests.waiting import until

TOPIC = "homeside/v1"
MINE, THEIRS = "bedside-01", "bedside-02"


@dataclass
class Site:
    """A broker with two enrolled kits. `heard` is all that arrives at the relay's side, by topic."""

    port: int
    ca: Path
    identities: dict[str, Path]
    heard: list[tuple[str, bytes]]
    down: Callable[[str, bytes], None]
    stays: ExitStack = field(default_factory=ExitStack)

    def kit(self, name: str, client_id: str = "", **how: Any) -> Client:
        client = Client(self.port, client_id, identity=self.identities[name], ca=self.ca, **how)
        self.stays.callback(client.close)
        assert client.admitted()
        return client


def _enrolled(relay: TrustingRelay, folder: Path) -> dict[str, Path]:
    return {kit: relay.install(kit, folder / kit) for kit in (MINE, THEIRS)}


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TrustingRelay, dict[str, Path]]]:
    folder = tmp_path_factory.mktemp("enrolled")
    relay = TrustingRelay(folder)
    yield relay, _enrolled(relay, folder)
    relay.stop()


@pytest.fixture
def site(broker: Site) -> Iterator[Site]:
    """The broker without the connections of other tests."""
    with ExitStack() as stays:
        yield replace(broker, stays=stays)


@pytest.fixture(scope="module", params=["embedded", "mosquitto", "nats"])
def broker(
    request: pytest.FixtureRequest,
    enrolled: tuple[TrustingRelay, dict[str, Path]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    relay, identities = enrolled
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        made = {"embedded": _embedded, "mosquitto": _mosquitto, "nats": _nats}[request.param](relay, folder, stack)
        port, heard, down = made
        yield Site(port, relay.root, identities, heard, down)


def _embedded(
    relay: TrustingRelay, folder: Path, stack: ExitStack
) -> tuple[int, list[Any], Callable[[str, bytes], None]]:
    """The relay's own ear cannot be borrowed: what kits may write is seen by what the relay answers and retains."""
    pytest.importorskip("amqtt")
    from tests.trust.inside import Inside

    inside = stack.enter_context(Inside(relay.data))
    return inside.port, inside.heard, inside.down


def _settings(relay: TrustingRelay, kind: str, out: Path) -> tuple[int, str]:
    port, relay_port = free_port(), free_port()
    words = ("--out", out, "--port", str(port), "--relay-port", str(relay_port))
    relay.command("kits", "broker-config", kind, *words)
    url = (out / "relay.toml").read_text().split('url = "')[1].split('"')[0]
    return port, url


def _mosquitto(
    relay: TrustingRelay, folder: Path, stack: ExitStack
) -> tuple[int, list[Any], Callable[[str, bytes], None]]:
    port, url = _settings(relay, "mosquitto", folder / "broker")
    start_mosquitto(folder / "broker", port, stack)
    ear = Client(int(url.rsplit(":", 1)[1]), "the-relay", login=("relay", url.split(":")[2].split("@")[0]))
    stack.callback(ear.close)
    assert ear.admitted()
    assert ear.subscribe(f"{TOPIC}/#")
    return port, ear.got, ear.publish


def start_mosquitto(folder: Path, port: int, stack: ExitStack) -> Child:
    program = find_peer("mosquitto", "mosquitto")
    text = (folder / "mosquitto.conf").read_text()
    (folder / "here.conf").write_text("user root\nlog_dest stderr\n" + text)
    child = Child([program, "-c", folder / "here.conf"], cwd=folder)
    stack.callback(child.end)
    child.wait_until(lambda: listens(port), "its port")
    return child


def _nats(relay: TrustingRelay, folder: Path, stack: ExitStack) -> tuple[int, list[Any], Callable[[str, bytes], None]]:
    port, url = _settings(relay, "nats", folder / "broker")
    start_nats(folder / "broker", port, stack)
    ear = NatsEar(url)
    stack.callback(ear.close)
    return port, ear.heard, ear.publish


def start_nats(folder: Path, port: int, stack: ExitStack) -> Child:
    child = Child([find_peer("nats-server", "nats-server"), "-c", folder / "nats.conf"], cwd=folder)
    stack.callback(child.end)
    child.wait_until(lambda: listens(port), "its port")
    return child


class NatsEar:
    """The relay's side of NATS, by its own protocol."""

    def __init__(self, url: str) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection = self._run(self._open(url))

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _open(self, url: str) -> Any:
        connection = await nats.connect(url)

        async def take(message: Any) -> None:
            self.heard.append((message.subject.replace(".", "/"), message.data))

        await connection.subscribe("homeside.v1.>", cb=take)
        await connection.flush()
        return connection

    def publish(self, topic: str, body: bytes) -> None:
        self._run(self._connection.publish(topic.replace("/", "."), body))
        self._run(self._connection.flush())

    def close(self) -> None:
        self._run(self._connection.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


def test_a_kit_writes_its_own_lanes_up(site: Site) -> None:
    kit = site.kit(MINE)
    for lane in ("live", "backfill", "status"):
        kit.publish(f"{TOPIC}/{MINE}/{lane}", b"mine")
        until(lambda lane=lane: (f"{TOPIC}/{MINE}/{lane}", b"mine") in site.heard)


@pytest.mark.parametrize("lane", ["live", "backfill", "status", "ack", "command"])
def test_a_kit_writes_nothing_of_anothers(site: Site, lane: str) -> None:
    body = f"forged {lane}".encode()
    victim = site.kit(THEIRS)
    victim.subscribe(f"{TOPIC}/{THEIRS}/{lane}")
    thief = site.kit(MINE)
    thief.publish(f"{TOPIC}/{THEIRS}/{lane}", body)
    thief.close()
    probe = site.kit(MINE)
    probe.publish(f"{TOPIC}/{MINE}/live", b"after " + body)
    until(lambda: (f"{TOPIC}/{MINE}/live", b"after " + body) in site.heard)
    assert not [topic for topic, said in [*site.heard, *victim.got] if said == body]


def test_a_kit_writes_nothing_of_anothers_by_its_last_will(site: Site) -> None:
    thief = Client(
        site.port,
        "wilful",
        identity=site.identities[MINE],
        ca=site.ca,
        will=(f"{TOPIC}/{THEIRS}/status", b"forged will"),
    )
    if thief.admitted():
        thief.drop()
    probe = site.kit(MINE)
    for number in range(3):
        probe.publish(f"{TOPIC}/{MINE}/live", b"after the will %d" % number)
        until(lambda number=number: (f"{TOPIC}/{MINE}/live", b"after the will %d" % number) in site.heard)
    assert not [topic for topic, said in site.heard if said == b"forged will"]
    thief.close()


@pytest.mark.parametrize(
    "wanted",
    [
        f"{TOPIC}/{THEIRS}/command",
        f"{TOPIC}/{THEIRS}/live",
        f"{TOPIC}/+/command",
        f"{TOPIC}/#",
        "#",
        "+/+/+/+",
        "$MQTT/sub/#",
        "$SYS/#",
    ],
)
def test_a_kit_hears_nothing_of_anothers(site: Site, wanted: str) -> None:
    thief = site.kit(MINE)
    thief.subscribe(wanted)
    victim = site.kit(THEIRS)
    assert victim.subscribe(f"{TOPIC}/{THEIRS}/command")
    victim.publish(f"{TOPIC}/{THEIRS}/live", b"private")
    site.down(f"{TOPIC}/{THEIRS}/command", b"for the other")
    until(lambda: (f"{TOPIC}/{THEIRS}/command", b"for the other") in victim.got)
    if not thief.ended.is_set():
        fence(site, thief, wanted)
    assert not [topic for topic, said in thief.got if THEIRS in topic or said in (b"private", b"for the other")]


def test_what_is_retained_of_another_reaches_no_kit(site: Site) -> None:
    """Also not at the moment of connecting, while the relay is subscribed to every kit's status."""
    victim = site.kit(THEIRS)
    victim.publish(f"{TOPIC}/{THEIRS}/status", b"retained secret", retain=True)
    until(lambda: (f"{TOPIC}/{THEIRS}/status", b"retained secret") in site.heard)
    thief = site.kit(MINE)
    thief.subscribe(f"{TOPIC}/{THEIRS}/status")
    if thief.ended.is_set():
        thief = site.kit(MINE)
    fence(site, thief, "retained")
    assert not [topic for topic, _ in thief.got if THEIRS in topic]


@pytest.mark.parametrize("client_id", ["victims-own-id", f"homeside-{THEIRS}", THEIRS, f"{THEIRS}/victims-own-id"])
def test_taking_anothers_client_id_gives_nothing_of_its_session(site: Site, client_id: str) -> None:
    victim = site.kit(THEIRS, client_id, clean=False)
    assert victim.subscribe(f"{TOPIC}/{THEIRS}/command")
    thief = site.kit(MINE, client_id, clean=False)
    site.down(f"{TOPIC}/{THEIRS}/command", b"after the theft")
    fence(site, thief, "client id")
    assert not [topic for topic, _ in thief.got if THEIRS in topic]


def fence(site: Site, kit: Client, what: str) -> None:
    """What comes after everything that was to come: a command of the kit's own."""
    assert kit.subscribe(f"{TOPIC}/{MINE}/command")
    mark = json.dumps({"fence": what}).encode()
    site.down(f"{TOPIC}/{MINE}/command", mark)
    until(lambda: (f"{TOPIC}/{MINE}/command", mark) in kit.got)


def test_who_shows_nothing_or_anothers_authority_is_let_in_nowhere(site: Site, tmp_path: Path) -> None:
    assert not Client(site.port, ca=site.ca).admitted()
    assert not Client(site.port, ca=site.ca, login=(MINE, "guess")).admitted()
    assert not Client(site.port, ca=site.ca, login=("relay", "guess")).admitted()
    now = datetime.now(UTC)
    other, key = own_authority(tmp_path / "other", now), ec.generate_private_key(ec.SECP256R1())
    forged = other.issue_kit(key.public_key(), MINE, now, timedelta(days=1))
    pem = tmp_path / "forged.pem"
    pem.write_bytes(private_pem(key) + forged.public_bytes(PEM) + other.issuer_pem)
    assert not Client(site.port, ca=site.ca, identity=pem).admitted()
