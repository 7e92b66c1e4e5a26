"""The public port and the ones on loopback: TLS, headers, origins, names, and how much one address may take."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Iterator
from importlib.metadata import version

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agent.identity.exchange import trusting
from relay.entrance.doorstep import HEAD_BYTES, Doorstep
from relay.entrance.perimeter import Buckets, Guard, Perimeter, own_names
from relay.entrance.porter import NoRoom, Places
from tests.trust.enrolling import TrustingRelay
from tests.trust.slow import serving


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrustingRelay]:
    running = TrustingRelay(tmp_path_factory.mktemp("perimeter"))
    yield running
    running.stop()


@pytest.fixture
def https(relay: TrustingRelay) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=relay.url, verify=trusting(relay.root.read_text())) as client:
        yield client


@pytest.mark.parametrize("port", ["public", "mqtt"])
@pytest.mark.parametrize("best", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_tls_is_1_2_or_1_3_with_forward_secrecy(relay: TrustingRelay, port: str, best: ssl.TLSVersion) -> None:
    number = relay.port if port == "public" else relay.program.mqtt_port
    context = ssl.create_default_context(cafile=str(relay.root))
    context.maximum_version = best
    name, _, _ = _cipher(number, context)
    assert name.startswith(("TLS_", "ECDHE-"))
    assert "GCM" in name or "CHACHA20" in name


@pytest.mark.parametrize("port", ["public", "mqtt"])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_older_tls_and_weak_ciphers_are_refused(relay: TrustingRelay, port: str) -> None:
    number = relay.port if port == "public" else relay.program.mqtt_port
    old = ssl.create_default_context(cafile=str(relay.root))
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    weak = ssl.create_default_context(cafile=str(relay.root))
    weak.maximum_version = ssl.TLSVersion.TLSv1_2
    weak.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0")
    for context in (old, weak):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            _cipher(number, context)


def _cipher(port: int, context: ssl.SSLContext) -> tuple[str, str, int]:
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
    ):
        found = secure.cipher()
        assert found is not None
        return found


@pytest.mark.parametrize("path", ["/", "/measure", "/scg/api/v1/sessions", "/identity/v1/authority", "/nothing"])
def test_every_answer_bears_the_headers(https: httpx.Client, path: str) -> None:
    headers = https.get(path).headers
    assert headers["strict-transport-security"].startswith("max-age=31536000")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "server" not in headers
    if headers["content-type"].startswith("application/json"):
        assert headers["cache-control"] == "no-store"


def test_a_page_forbids_scripts_from_elsewhere_and_loopback_asks_for_no_hsts(relay: TrustingRelay) -> None:
    headers = httpx.get(f"{relay.program.http}/measure").headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "strict-transport-security" not in headers


@pytest.mark.parametrize(
    ("origin", "opens"),
    [
        (None, True),
        ("http://127.0.0.1:5173", True),
        ("http://localhost:3000", True),
        ("https://evil.example", False),
        ("null", False),
        ("http://127.0.0.1.evil.example", False),
        ("http://[bad", False),
    ],
)
async def test_a_page_from_elsewhere_opens_no_socket(relay: TrustingRelay, origin: str | None, opens: bool) -> None:
    created = httpx.post(f"{relay.program.http}/api/v1/sessions").json()
    headers = {"Origin": origin} if origin else {}
    if opens:
        async with connect(created["websocketUrl"], additional_headers=headers):
            return
    with pytest.raises(InvalidStatus) as refused:
        await connect(created["websocketUrl"], additional_headers=headers)
    assert refused.value.response.status_code == 403


def test_an_open_listener_answers_only_by_its_own_name(relay: TrustingRelay) -> None:
    """A foreign name that a name server points here (DNS rebinding) reaches nothing."""
    url = f"{relay.program.http}/api/v1/sessions"
    assert httpx.get(url, headers={"Host": "rebound.evil.example"}).status_code == 421
    assert httpx.get(url, headers={"Host": f"localhost:{relay.program.port}"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/scg/api/v1/sessions", "/identity/v1/authority", "/physio/api/auth/login"])
def test_trace_is_not_answered(https: httpx.Client, path: str) -> None:
    answer = https.request("TRACE", path, headers={"X-Secret": "echoed"})
    assert answer.status_code >= 400
    assert "echoed" not in answer.text


def test_the_sign_in_page_masks_the_password_and_lets_managers_fill_it(https: httpx.Client) -> None:
    page = https.get("/app").text
    field = next(tag for tag in re.findall(r"<input[^>]*>", page) if "password" in tag)
    assert 'type="password"' in field
    assert 'autocomplete="current-password"' in field
    assert "onpaste" not in page


def test_an_address_has_its_bucket_of_requests() -> None:
    now = [0.0]
    buckets = Buckets(per_s=2, burst=5, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert buckets.take("b") == 0
    now[0] = 1.0
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]


async def test_beyond_its_bucket_an_address_is_asked_to_wait() -> None:
    async def app(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    guard = Guard(app, Perimeter(guarded=True, names=own_names([]), per_s=1, burst=3), clock=lambda: 0.0)
    answers = [await _ask(guard, "192.0.2.7") for _ in range(5)]
    assert answers == [204, 204, 204, 429, 429]
    assert await _ask(guard, "192.0.2.8") == 204
    assert [await _ask(guard, "127.0.0.1") for _ in range(5)] == [204] * 5


async def _ask(guard: Guard, address: str) -> int:
    found: list[int] = []

    async def send(message) -> None:
        found.append(message.get("status", 0))

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": (address, 1), "query_string": b""}
    await guard(scope, receive, send)
    return found[0]


def test_an_address_has_so_many_places() -> None:
    places = Places(2)
    leave, _ = places.enter("192.0.2.7"), places.enter("192.0.2.7")
    assert places.lack("192.0.2.7") is NoRoom.ADDRESS
    leave()
    leave()
    assert places.lack("192.0.2.7") is None
    mine = [places.enter("127.0.0.1") for _ in range(10)]
    assert places.lack("127.0.0.1") is None
    for leave in mine:
        leave()
    assert len(places) == 1


async def test_connections_and_sockets_leave_their_places(relay: TrustingRelay) -> None:
    """On a server of the test's own, whose places it can count."""
    places = Places(100)

    async def app(scope, receive, send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await receive()
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(app, places) as port:
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/")).status_code == 200
            async with connect(f"ws://127.0.0.1:{port}/"):
                assert len(places) == 2
        async with asyncio.timeout(20):
            while len(places):
                await asyncio.sleep(0.01)


def test_a_head_that_does_not_end_is_cut_off(relay: TrustingRelay) -> None:
    with socket.create_connection(("127.0.0.1", relay.program.port), 20) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        with contextlib.suppress(ConnectionError):
            for number in range(2 * HEAD_BYTES // 100):
                slow.sendall(b"x-%06d: %s\r\n" % (number, b"y" * 100))
        assert _rest(slow) == b"", "it was cut off without an answer"


def _rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionError:
        return b""


def test_the_names_inside_uvicorn_are_there() -> None:
    assert version("uvicorn") == "0.54.0"
    used = ("connection_made", "connection_lost", "on_message_begin", "on_url", "on_header", "on_headers_complete")
    more = ("on_body", "on_message_complete", "resume_writing", "handle_websocket_upgrade")
    for name in (*used, *more):
        assert callable(getattr(HttpToolsProtocol, name)), name
        assert name in vars(Doorstep), name
