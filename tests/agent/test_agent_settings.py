"""Settings: options over environment over file; whatever is unknown or wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from agent.errors import SettingsError
from agent.settings import AgentSettings, load


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)


def written(folder: Path, text: str) -> Path:
    path = folder / "agent.toml"
    path.write_text(text)
    return path


def test_defaults(tmp_path: Path) -> None:
    settings = load()
    assert settings.outbox.quota_bytes == 2 * 1024**3
    assert settings.session.resume_within_s == 15 * 60
    assert settings.state == tmp_path / "homeside" / "agent"
    assert settings.broker.login("k") == (None, None)


def test_the_later_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = written(
        tmp_path,
        """
        kit = "from-file"
        [broker]
        url = "mqtts://hospital.example:8884"
        keepalive_s = 20
        [broker.tls]
        ca = "/etc/homeside/ca.pem"
        [source.serial]
        port = "/dev/ttyACM0"
        rate_hz = 200
        """,
    )
    monkeypatch.setenv("HOMESIDE_AGENT_BROKER__KEEPALIVE_S", "30")
    monkeypatch.setenv("HOMESIDE_AGENT_KIT", "from-environment")
    settings = load(config, {"kit": "from-option"})
    assert settings.kit == "from-option"
    assert settings.broker.keepalive_s == 30
    assert (settings.broker.host, settings.broker.port, settings.broker.encrypted) == ("hospital.example", 8884, True)
    assert settings.broker.tls.ca == Path("/etc/homeside/ca.pem")
    assert settings.source.serial.rate_hz == 200


def test_file_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMESIDE_AGENT_CONFIG", str(written(tmp_path, 'kit = "bed-7"')))
    assert load().kit == "bed-7"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kitt = 'x'", r"kitt: no such setting \(did you mean kit\?\)"),
        ("[outbox]\nquota_byte = 5", r"outbox\.quota_byte: no such setting \(did you mean quota_bytes\?\)"),
        ("[broker.tls]\ncart = 'x'", r"broker\.tls\.cart: no such setting \(did you mean cert\?\)"),
        ("[broker.tls]\ncert = 'x'", r"broker\.tls: cert and key go together"),
        ("[broker]\nurl = 'http://x'", r"broker\.url: 'http://x' is no broker's address"),
        ("[outbox]\nquota_bytes = 5", r"outbox\.quota_bytes: .*greater than or equal"),
        ("kit = 'a/b'", r"kit: 'a/b' is no kit's name"),
        ("[source.replay]\nfile='x'\nloop=true\nspeed=2", "loop needs speed 1"),
        ("[source.replay]\nfile='x'\n[source.serial]\nport='y'", "replay.file goes alone"),
        ("kit = ", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load(written(tmp_path, text))


@pytest.mark.parametrize(
    "name", ["HOMESIDE_AGENT_KITT", "HOMESIDE_AGENT_BROKER__TLS__CART", "HOMESIDE_AGENT_BROKER__X__Y"]
)
def test_unknown_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=name):
        load()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read .*absent\.toml"):
        load(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("url", "host", "port", "encrypted", "websocket", "path"),
    [
        ("mqtt://a", "a", 1883, False, False, "/mqtt"),
        ("mqtts://a.b:1", "a.b", 1, True, False, "/mqtt"),
        ("ws://a/x", "a", 80, False, True, "/x"),
        ("wss://[::1]:9001", "::1", 9001, True, True, "/mqtt"),
    ],
)
def test_transport_by_scheme(url: str, host: str, port: int, encrypted: bool, websocket: bool, path: str) -> None:
    broker = load(options={"broker": {"url": url}}).broker
    found = (broker.host, broker.port, broker.encrypted, broker.websocket, broker.path)
    assert found == (host, port, encrypted, websocket, path)


def test_login(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    by_file = load(options={"broker": {"password_file": str(token)}}).broker
    assert by_file.login("bed-7") == ("bed-7", "s3cret")
    token.write_text("changed")
    assert by_file.login("bed-7") == ("bed-7", "changed"), "a renewed token is taken without a restart"
    by_url = load(options={"broker": {"url": "mqtt://me:p%40ss@h"}}).broker
    assert by_url.login("bed-7") == ("me", "p@ss")
    assert "s3cret" not in repr(load(options={"broker": {"password": "s3cret"}}))
    absent = load(options={"broker": {"password_file": str(tmp_path / "no")}}).broker
    with pytest.raises(SettingsError, match="password_file"):
        absent.login("x")


def sections(model: type[BaseModel]) -> list[type[BaseModel]]:
    below = [f.annotation for f in model.model_fields.values() if isinstance(f.annotation, type)]
    return [model, *(s for b in below if issubclass(b, BaseModel) for s in sections(b))]


def test_every_setting_is_described() -> None:
    for section in sections(AgentSettings):
        for name, field in section.model_fields.items():
            assert field.description or (
                isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
            ), name
