"""Fixtures for all tests: the source tree, recorded data, real peers, and our programs as child processes.

A test that lacks a peer or the data is skipped and names what is missing. With CI=true everything must be present:
there a skip is a failure.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings
from playwright.async_api import expect as expect_soon
from playwright.sync_api import expect

from tests import peers
from tests.peers_postgres import Postgres
from tests.peers_timescale import Timescale
from tests.waiting import PATIENCE_S

settings.register_profile("homeside", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("homeside")  # on top of Hypothesis's own for CI: a busy machine is no failure
# Waiting is no judgement: every client here has the patience of a test, on a machine however busy.
expect.set_options(timeout=PATIENCE_S * 1000)
expect_soon.set_options(timeout=PATIENCE_S * 1000)
httpx._config.DEFAULT_TIMEOUT_CONFIG.read = PATIENCE_S
httpx._config.DEFAULT_TIMEOUT_CONFIG.connect = PATIENCE_S


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    return fail_if_skipped((yield))


def fail_if_skipped(report: Any) -> Any:
    """In CI, turn a skip into a failure that tells why it would have been skipped; an xfail stays an xfail."""
    if os.environ.get("CI") == "true" and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} would have been skipped, and with CI=true nothing may be missing.\n{reason}"
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the first failure of every test that passed only when it was rerun."""
    for report in terminalreporter.getreports("rerun"):
        terminalreporter.write_sep("!", f"failed once: {report.nodeid}")
        report.toterminal(terminalreporter._tw)


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return peers.REPO_ROOT


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded data, named by HOMESIDE_DATA."""
    named = os.environ.get("HOMESIDE_DATA")
    if not named:
        pytest.skip("recorded data: HOMESIDE_DATA names no folder")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"HOMESIDE_DATA={named} is not a folder")
    return folder


@pytest.fixture
def free_port() -> Callable[[], int]:
    return peers.free_port


@pytest.fixture
def homeside() -> Iterator[Callable[..., peers.Child]]:
    """homeside("relay", "--port", "8123", env={...}) starts the program; it is stopped after the test."""
    with peers.ended_afterwards() as children:

        def start(*words: str | Path, **options: Any) -> peers.Child:
            children.append(peers.start_homeside(*map(str, words), **options))
            return children[-1]

        yield start


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[peers.Mosquitto]:
    """A running broker that accepts anonymous clients."""
    broker = peers.Mosquitto(tmp_path / "mosquitto")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def mosquitto_with(tmp_path: Path) -> Iterator[Callable[..., peers.Mosquitto]]:
    """mosquitto_with("allow_anonymous false", "password_file ...") starts a broker with these settings."""
    brokers: list[peers.Mosquitto] = []

    def start(*settings: str) -> peers.Mosquitto:
        brokers.append(peers.Mosquitto(tmp_path / f"mosquitto-{len(brokers)}", settings))
        brokers[-1].start()
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server shared by all tests of this process; each `database()` is a new one."""
    server = Postgres()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def timescale() -> Iterator[Timescale]:
    """A PostgreSQL server with TimescaleDB; its databases have no tables yet."""
    server = Timescale()
    server.start()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def chromium() -> dict[str, Any]:
    """The arguments with which playwright's `launch` starts Debian's Chromium."""
    return {
        "executable_path": peers.find_peer("chromium", "chromium"),
        "args": list(peers.CHROMIUM_FLAGS),
        "headless": True,
    }


@pytest.fixture
def axe() -> str:
    """The source of axe-core, which checks a page's accessibility."""
    path = peers.REPO_ROOT / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not in node_modules: npm ci --ignore-scripts")
    return path.read_text("utf-8")


@pytest.fixture
async def browser(chromium: dict[str, Any]) -> AsyncIterator[Any]:
    """A fresh Chromium, as a playwright Browser (asynchronous API)."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(**chromium)
        yield running
        await running.close()
