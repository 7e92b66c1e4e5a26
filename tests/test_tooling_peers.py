"""The tests' own tools: children watched and ended, a broker that can be killed, skips that CI refuses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import peers

SKIPPING = """
import pytest

def test_lacks_a_peer():
    pytest.skip("mosquitto is not installed")

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    assert False

@pytest.mark.soak
def test_long():
    assert False
"""
SKIPPED_AS_A_WHOLE = 'import pytest\npytest.skip("no camera here", allow_module_level=True)\n'


def run_pytest(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_sample.py").write_text(text)
    settings = [
        "-c",
        str(peers.REPO_ROOT / "pyproject.toml"),
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
    ]
    surroundings = {name: value for name, value in os.environ.items() if name != "CI"} | environment
    return subprocess.run(
        [sys.executable, "-m", "pytest", *settings, str(folder / "test_sample.py")],
        cwd=peers.REPO_ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "reason"), [(SKIPPING, "mosquitto"), (SKIPPED_AS_A_WHOLE, "no camera")], ids=["one", "file"]
)
def test_a_skip_is_a_failure_in_ci_only(tmp_path: Path, text: str, reason: str) -> None:
    in_ci = run_pytest(tmp_path, text, CI="true")
    assert in_ci.returncode in (1, 2)
    assert "nothing may be missing" in in_ci.stdout
    assert reason in in_ci.stdout
    elsewhere = run_pytest(tmp_path, text)
    assert elsewhere.returncode in (0, 5), elsewhere.stdout
    assert "1 skipped" in elsewhere.stdout
    assert reason in elsewhere.stdout
    assert ("1 skipped, 1 deselected, 1 xfailed" in elsewhere.stdout) is (text == SKIPPING)  # soak is left out


def test_a_child_tells_its_lines_and_events() -> None:
    words = [
        sys.executable,
        "-u",
        "-c",
        'print(\'hello\'); print(\'{"event": "ready", "port": 7}\'); input()',
    ]
    child = peers.Child(words)
    assert child.wait_for_line("hel+o").group() == "hello"
    assert child.wait_for_event("ready")["port"] == 7
    assert child.wait(5.0) == 1  # nobody types: stdin is empty
    assert "EOFError" in child.tail()


def test_a_wait_for_a_dead_child_fails_at_once_with_its_last_words() -> None:
    child = peers.Child([sys.executable, "-c", "raise SystemExit('the port is taken')"])
    with pytest.raises(pytest.fail.Exception, match="the port is taken"):
        child.wait_for_line("ready", within=30.0)


def test_a_child_that_ignores_sigterm_is_killed_and_fails_the_test() -> None:
    deaf = "from signal import *; signal(SIGTERM, SIG_IGN); print('deaf', flush=True); pause()"
    child = peers.Child([sys.executable, "-c", deaf])
    child.wait_for_line("deaf")
    with pytest.raises(pytest.fail.Exception, match="had not ended"):
        child.end(within=0.2)
    assert child.returncode == -signal.SIGKILL


def test_children_are_ended_with_their_block() -> None:
    with peers.ended_afterwards() as children:
        children.append(peers.Child([sys.executable, "-c", "import signal; signal.pause()"]))
    assert children[0].returncode == -signal.SIGTERM


def test_the_broker_comes_back_on_its_port(mosquitto: peers.Mosquitto) -> None:
    port = mosquitto.port
    assert peers.listens(port)
    mosquitto.kill()
    assert not peers.listens(port)
    mosquitto.start()
    mosquitto.restart()
    assert peers.listens(port)
    assert mosquitto.port == port


@pytest.mark.browser
async def test_chromium_draws(browser: object) -> None:
    page = await browser.new_page()  # type: ignore[attr-defined]
    await page.set_content("<h1>Homeside</h1>")
    assert await page.inner_text("h1") == "Homeside"
