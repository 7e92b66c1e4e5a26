"""Beyond loopback: tokens asked for, links that reach one session, TLS on one port, and nothing open by accident."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from relay.__main__ import token_app
from relay.auth import Principal, Role, Tokens, load_secret
from relay.errors import SettingsError, Unauthorized
from relay.files import write_new
from relay.identity.authority import private_pem
from tests.contract.sockets import EPOCH, Socket, sine
from tests.peers import free_port, start_homeside
from tests.programs import RelayProgram, token


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    folder = tmp_path_factory.mktemp("tls")
    config = folder / "relay.toml"
    config.write_text(f'[tls]\nenabled = true\nhost = "127.0.0.1"\nport = {free_port()}\n')
    program = RelayProgram(folder / "data", "--config", str(config))
    yield program
    assert program.stop() == 0


@pytest.fixture
def trusted(relay: RelayProgram) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(relay.data / "tls" / "certificate.pem"))


@pytest.fixture
def https(relay: RelayProgram, trusted: ssl.SSLContext) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=relay.addresses["tls"], verify=trusted) as client:
        yield client


def _bearer(relay: RelayProgram, role: str, *options: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(relay.data, '--role', role, *options)}"}


def test_the_public_port_asks_for_a_token_and_loopback_does_not(relay: RelayProgram, https: httpx.Client) -> None:
    refused = https.post("/scg/api/v1/sessions")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert "token" in refused.json()["detail"]
    assert httpx.post(f"{relay.http}/api/v1/sessions").status_code == 200
    assert https.get("/api/v1/sessions").status_code == 404
    assert https.get("/metrics").status_code == 404


async def test_a_patients_token_measures_and_its_links_reach_that_session_only(
    relay: RelayProgram, https: httpx.Client, trusted: ssl.SSLContext
) -> None:
    patient = _bearer(relay, "patient")
    one = https.post("/scg/api/v1/sessions", headers=patient).json()
    two = https.post("/scg/api/v1/sessions", headers=patient).json()
    assert one["websocketUrl"].startswith(relay.addresses["tls"].replace("https", "wss") + "/scg/ws/")
    viewer = one["viewerUrl"].split("token=")[1]
    async with (
        Socket(one["websocketUrl"] + "&role=patient", ssl=trusted) as sender,
        Socket(one["websocketUrl"].split("?")[0] + f"?role=viewer&token={viewer}", ssl=trusted) as watcher,
    ):
        await watcher.status("viewer_connected")
        await sender.batch(sine([EPOCH + 10 * k for k in range(100)]))
        await watcher.points_until(EPOCH + 900)
    path = f"/scg/api/v1/sessions/{one['sessionId']}"
    assert https.get(path, params={"token": viewer}).status_code == 200
    assert https.get(f"/scg/api/v1/sessions/{two['sessionId']}", params={"token": viewer}).status_code == 403
    assert https.post(f"{path}/end", params={"token": viewer}).status_code == 403
    assert https.get("/scg/api/v1/sessions", headers=patient).status_code == 403
    assert https.get("/scg/api/v1/sessions", headers=_bearer(relay, "admin")).status_code == 200


async def test_only_who_measures_sends_and_ends(
    relay: RelayProgram, https: httpx.Client, trusted: ssl.SSLContext
) -> None:
    """Not who looks by a link, not another patient, not another kit: a session's id is no secret."""
    one = https.post("/scg/api/v1/sessions", headers=_bearer(relay, "patient", "--name", "anna")).json()
    address, viewer = one["websocketUrl"].split("?")[0], one["viewerUrl"].split("token=")[1]
    async with Socket(f"{address}?token={viewer}", ssl=trusted) as looking:
        await looking.batch(sine([EPOCH]), boot="b", seq=1)
        assert (await looking.message("error"))["payload"]["code"] == "SESSION_HAS_PATIENT"
    path = f"/scg/api/v1/sessions/{one['sessionId']}"
    for who in (("patient", "--name", "john"), ("kit", "--name", "bedside-09")):
        bearer = _bearer(relay, *who)
        assert https.post(f"{path}/end", headers=bearer).status_code == 403
        other = bearer["Authorization"].split()[1]
        async with connect(f"{address}?role=patient&token={other}", ssl=trusted) as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4403
    mine = one["websocketUrl"].split("token=")[1]
    assert https.get(path, params={"token": viewer}).json()["samples"] == []
    assert https.post(f"{path}/end", params={"token": mine}).status_code == 200


@pytest.mark.parametrize(("query", "code"), [("", 4401), ("?token=nonsense", 4401), ("?token=OTHER", 4403)])
async def test_sockets_are_refused_with_a_code_a_page_can_read(
    relay: RelayProgram, https: httpx.Client, trusted: ssl.SSLContext, query: str, code: int
) -> None:
    created = https.post("/scg/api/v1/sessions", headers=_bearer(relay, "admin")).json()
    other = token(relay.data, "--role", "viewer", "--session", "00000000-0000-4000-8000-000000000000")
    address = created["websocketUrl"].split("?")[0] + query.replace("OTHER", other)
    async with connect(address, ssl=trusted) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == code


def test_the_secret_and_the_key_are_the_owners_alone(relay: RelayProgram) -> None:
    for path in (relay.data / "secret", relay.data / "tls" / "key.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(relay.data.stat().st_mode) == 0o700


def test_tokens_hold_for_their_time_and_their_relay(tmp_path: Path) -> None:
    tokens = Tokens(load_secret(tmp_path / "a"))
    who = Principal("x", Role.VIEWER, "s")
    signed = tokens.issue(who, now_s=1000, lifetime_s=60)
    assert tokens.read(signed, now_s=1059) == who
    assert Tokens(load_secret(tmp_path / "a")).read(signed, now_s=1059) == who
    with pytest.raises(Unauthorized, match="expired"):
        tokens.read(signed, now_s=1060)
    for wrong in (
        signed[:-2] + "xx",
        signed + "x",
        "",
        "a.b.c",
        signed.split(".")[0] + "..",
        "eyJhbGciOiJub25lIn0.e30.",
    ):
        with pytest.raises(Unauthorized):
            tokens.read(wrong, now_s=1000)
    with pytest.raises(Unauthorized):
        Tokens(load_secret(tmp_path / "b")).read(signed, now_s=1000)


@pytest.mark.parametrize("held", ["", "\n", "00ff", "not hexadecimal"])
def test_nothing_is_signed_with_half_a_secret(held: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(held)
    with pytest.raises(SettingsError, match="no whole secret"):
        load_secret(tmp_path / "secret")


def test_of_two_who_make_the_secret_at_once_both_have_the_same(tmp_path: Path) -> None:
    write_new(tmp_path / "secret", b"00" * 32, 0o600)
    write_new(tmp_path / "secret", b"ff" * 32, 0o600)
    assert load_secret(tmp_path / "secret") == bytes(32)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_busy_port_says_what_to_do(relay: RelayProgram, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"cannot be had.*or \[ports\] in the configuration"):
        RelayProgram(tmp_path, port=relay.port)


def test_a_folder_is_one_relays(relay: RelayProgram, tmp_path: Path) -> None:
    """Two on one folder would each think the timers and what kits sent their own."""
    (tmp_path / "file").write_text("")
    for folder, said in ((relay.data, "another relay runs on"), (tmp_path / "file", "cannot be used for data")):
        with pytest.raises(pytest.fail.Exception, match=said):
            RelayProgram(folder)


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("colour = 1", "colour"),
        ("[tls]\nport = 70000", "tls.port"),
        ("[limits]\nringframes = 3", "limits.ringframes"),
        ("[[[", "not TOML"),
        ('[mqtt]\nurl = "http://x"', "mqtt.url"),
    ],
)
def test_settings_that_mean_nothing_stop_the_start_by_name(tmp_path: Path, toml: str, said: str) -> None:
    config = tmp_path / "relay.toml"
    config.write_text(toml)
    with pytest.raises(pytest.fail.Exception, match=said.replace(".", r"\.")):
        RelayProgram(tmp_path / "data", "--config", str(config))


def test_a_certificate_with_another_key_stops_the_start(relay: RelayProgram, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(private_pem(ec.generate_private_key(ec.SECP256R1())))
    files = f'certificate = "{relay.data / "tls" / "certificate.pem"}"\nkey = "{key}"'
    config = tmp_path / "relay.toml"
    config.write_text(f'[tls]\nenabled = true\nhost = "127.0.0.1"\nport = 0\n{files}\n')
    with pytest.raises(pytest.fail.Exception, match="do not serve"):
        RelayProgram(tmp_path / "data", "--config", str(config))


def test_a_token_that_holds_for_no_time_or_for_ever_or_where_no_relay_is_is_not_made(tmp_path: Path) -> None:
    load_secret(tmp_path / "secret")
    said = ["--role", "admin", "--data", str(tmp_path)]
    assert CliRunner().invoke(token_app, said).exit_code == 0
    for hours in ("-5", "0", "nan", "inf", "1e300"):
        refused = CliRunner().invoke(token_app, [*said, f"--hours={hours}"])
        assert (refused.exit_code, refused.stdout) == (2, "")
        assert "--hours" in refused.stderr
    elsewhere = CliRunner().invoke(token_app, ["--role", "admin", "--data", str(tmp_path / "wrong")])
    assert (elsewhere.exit_code, elsewhere.stdout) == (2, "")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize("words", ["users list", "claims list"])
def test_a_command_makes_no_folder_where_no_relay_is(tmp_path: Path, words: str) -> None:
    child = start_homeside(*words.split(), "--data", tmp_path / "wrong")
    assert child.wait(60.0) == 2
    assert "no relay's data folder" in " ".join(child.tail().split())
    assert list(tmp_path.iterdir()) == []
