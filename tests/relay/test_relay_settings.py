"""The relay's settings: options over environment over file, and a misspelt name stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.bus.mqtt import parse_address
from relay.errors import SettingsError
from relay.settings import load


def test_the_later_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "relay.toml"
    config.write_text('log_level = "debug"\n[ports]\nscg = 1\ncare = 2\nsigns = 3\n')
    monkeypatch.setenv("HOMESIDE_RELAY_PORTS__CARE", "20")
    monkeypatch.setenv("HOMESIDE_RELAY_PORTS__SIGNS", "30")
    settings = load(config, {"ports": {"signs": 300}})
    assert (settings.ports.scg, settings.ports.care, settings.ports.signs) == (1, 20, 300)
    assert settings.log_level == "debug"


def test_our_names_win_over_the_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_PORT", "5")
    assert load().ports.care == 5
    monkeypatch.setenv("HOMESIDE_RELAY_PORTS__CARE", "6")
    assert load().ports.care == 6


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("HOMESIDE_RELAY_TSL__ENABLED", r"HOMESIDE_RELAY_TSL__ENABLED: tsl\.enabled: no such setting"),
        ("HOMESIDE_RELAY_TLS__ENABLD", r"did you mean enabled\?"),
        ("HOMESIDE_RELAY_LOGLEVEL", r"did you mean log_level\?"),
    ],
)
def test_a_misspelt_variable_stops_the_start(monkeypatch: pytest.MonkeyPatch, variable: str, said: str) -> None:
    monkeypatch.setenv(variable, "true")
    with pytest.raises(SettingsError, match=said):
        load()


def test_a_misspelt_key_and_an_unreadable_file_are_named(tmp_path: Path) -> None:
    config = tmp_path / "relay.toml"
    config.write_text("[tls]\nenable = true\n")
    with pytest.raises(SettingsError, match=r"tls\.enable: no such setting \(did you mean enabled\?\)"):
        load(config)
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "none.toml")


def test_a_certificate_without_its_key_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOMESIDE_RELAY_TLS__CERTIFICATE", "/etc/homeside/ward.pem")
    with pytest.raises(SettingsError, match="certificate and key go together"):
        load()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mqtt://ward:99999", "mqtt.url: Port out of range"),
        ("mqtt://[::1", "mqtt.url: Invalid IPv6"),
        ("http://x", "no broker's"),
    ],
)
def test_a_brokers_address_that_is_none_is_named(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        parse_address(url)
