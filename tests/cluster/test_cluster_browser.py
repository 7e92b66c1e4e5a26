"""A physician's browser in front of nginx and several relays: the relay it was on is killed, and the line goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Page, WebSocket

from tests.cluster.faultrun import start_load
from tests.cluster.program import ClusterProgram
from tests.peers import REPO_ROOT, Child, find_peer, free_port, listens
from tests.viewer.conftest import DESK, browser  # noqa: F401  a fixture
from tests.viewer.looking import drawing
from tests.waiting import until

pytestmark = pytest.mark.browser
SECONDS = 120
"""At most; what measures is ended with the test."""


class Lines:
    """Every socket the page opened: what it asked to go on after, and the grid times that came by it."""

    def __init__(self, page: Page) -> None:
        self.sockets: list[list[int]] = []
        self.asked: list[int | None] = []
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        times: list[int] = []
        after = parse_qs(urlsplit(socket.url).query).get("after")
        self.asked.append(int(after[0]) if after else None)
        self.sockets.append(times)
        socket.on("framereceived", lambda frame: self._take(times, frame))

    @staticmethod
    def _take(times: list[int], frame: str | bytes) -> None:
        message: dict[str, Any] = json.loads(frame)
        if message["type"] == "interpolated_batch":
            times += [int(point["t"]) for point in message["payload"]["interpolatedSamples"]]

    @property
    def every(self) -> list[int]:
        """In the order they came, by whichever socket."""
        return [t for times in self.sockets for t in times]


@pytest.fixture
def nginx(cluster: ClusterProgram, tmp_path: Path) -> Iterator[str]:
    """The configuration shown in docs/deploy, in front of two of the relays."""
    program, port = find_peer("nginx", "nginx"), free_port()
    site = (REPO_ROOT / "docs" / "deploy" / "nginx.conf").read_text()
    for number in (1, 2):
        site = site.replace(f"relay-{number}:8000", cluster.relays[number - 1].removeprefix("http://"))
    site = "\n".join(line for line in site.splitlines() if "relay-3:8000" not in line)
    (tmp_path / "site.conf").write_text(site.replace("listen 80;", f"listen 127.0.0.1:{port};"))
    folders = "".join(
        f"{kind}_temp_path {tmp_path}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    whole = tmp_path / "nginx.conf"
    whole.write_text(
        f"daemon off;\nmaster_process off;\npid {tmp_path}/pid;\nerror_log {tmp_path}/log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}include {tmp_path}/site.conf;\n}}\n"
    )
    child = Child([program, "-p", tmp_path, "-c", whole])
    child.wait_until(lambda: listens(port), f"answer on port {port}")
    yield f"http://127.0.0.1:{port}"
    child.end()


def newest_session(relay: str) -> str | None:
    listed = httpx.get(f"{relay}/api/v1/sessions").json()["sessions"]
    return next((str(one["sessionId"]) for one in listed if one["source"].startswith("kit load")), None)


def relay_of(cluster: ClusterProgram) -> str:
    """The one of the two that holds the page's socket."""
    for number in (1, 2):
        metrics = httpx.get(f"{cluster.relays[number - 1]}/metrics").text
        if "\nhomeside_sockets 0.0" not in metrics:
            return f"relay-{number}"
    pytest.fail("no relay holds the page's socket")


@pytest.mark.timeout(240)
def test_the_line_goes_on_when_the_browsers_relay_is_killed(
    cluster: ClusterProgram,
    nginx: str,
    browser: Browser,  # noqa: F811  the fixture
) -> None:
    cluster.wait_ready()
    load = start_load(cluster, SECONDS, kits=1, viewers=0)
    before = {one["sessionId"] for one in httpx.get(f"{nginx}/api/v1/sessions").json()["sessions"]}
    session = load.wait_until(
        lambda: (found := newest_session(cluster.relays[0])) not in before and found, "a session of the kit"
    )
    page = browser.new_page(viewport=DESK)
    lines = Lines(page)
    page.goto(f"{nginx}/view/{session}")
    until(lambda: page.evaluate("document.body.dataset.state") == "live", "the line to be live")
    until(lambda: not drawing(page, "#wave").empty.all(), "the line to be drawn")
    on = relay_of(cluster)
    newest = lines.every[-1]
    cluster.kill(on)
    until(
        lambda: page.evaluate("document.body.dataset.state") == "live" and lines.every[-1] > newest + 2_000,
        "two more seconds of the line",
        60,
    )
    every = lines.every
    assert [(before, after) for before, after in pairwise(every) if after != before + 10] == []
    came = [(asked, times) for asked, times in zip(lines.asked, lines.sockets, strict=True) if times]
    assert [asked for asked, _ in came] == [None, *(times[-1] for _, times in came[:-1])]
    assert len(came) > 1
    page.close()
    load.end()
    cluster.wait_ready()
