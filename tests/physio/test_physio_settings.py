"""The names of the document's own example environment are understood, below the relay's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.db.engine import database_url
from relay.errors import SettingsError
from relay.settings import DOCUMENTED_NAMES, load


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in DOCUMENTED_NAMES:
        monkeypatch.delenv(name, raising=False)


def test_documented_names_reach_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@localhost:5432/physalign")
    monkeypatch.setenv("JWT_EXPIRATION_HOURS", "12")
    monkeypatch.setenv("API_PORT", "3001")
    monkeypatch.setenv("CORS_ORIGINS", '["https://app.physalign.com"]')
    monkeypatch.setenv("RATE_LIMIT_MAX_REQUESTS", "50")
    settings = load()
    assert settings.database_url == "postgresql://u:p@localhost:5432/physalign"
    assert (settings.physio.access_hours, settings.ports.care, settings.physio.requests) == (12, 3001, 50)
    assert settings.physio.cors_origins == ("https://app.physalign.com",)
    monkeypatch.setenv("HOMESIDE_RELAY_PORTS__CARE", "3002")
    assert load().ports.care == 3002


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("", "sqlite+aiosqlite"),
        ("postgresql://h/d", "postgresql+asyncpg"),
        ("postgres://h/d", "postgresql+asyncpg"),
        ("sqlite:///x.db", "sqlite+aiosqlite"),
    ],
)
def test_a_database_is_spoken_to_by_its_asynchronous_driver(given: str, driver: str, tmp_path: Path) -> None:
    assert database_url(given, tmp_path).drivername == driver


@pytest.mark.parametrize("given", ["mysql://h/d", "not a url"])
def test_another_database_is_refused_by_name(given: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="database_url"):
        database_url(given, tmp_path)
