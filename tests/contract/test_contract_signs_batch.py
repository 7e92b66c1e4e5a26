"""Recorded videos: made from photographs, served on loopback, read into letters; and addresses that are not fetched."""

from __future__ import annotations

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from websockets.sync.client import connect

from relay.signs.batch.gateway import public
from tests.films import film, fitted
from tests.programs import RelayProgram
from tests.waiting import until

URL = "/api/v1/batch-translate"


class Videos:
    """A web server on loopback: files by name, redirects, and a stream that never ends."""

    def __init__(self, folder: Path) -> None:
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        videos = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                videos.asked.append(self.path)
                if target := videos.redirects.get(self.path):
                    self.send_response(302)
                    self.send_header("location", target)
                    self.end_headers()
                elif self.path == "/endless":
                    self.endless()
                elif (file := folder / self.path.lstrip("/")).is_file():
                    self.send_response(200)
                    self.send_header("content-length", str(file.stat().st_size))
                    self.end_headers()
                    self.wfile.write(file.read_bytes())
                else:
                    self.send_error(404)

            def endless(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while True:
                        self.wfile.write(b"\0" * 65_536)
                except OSError:
                    return

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self._server.server_address[1]}/{name}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """spelled.mp4 shows Y, nothing, Y; still.mp4 nothing at all; and files that are no videos."""
    made = tmp_path_factory.mktemp("videos")
    call = fitted(data_dir / "hands" / "call_0413d5c5.jpg")
    blank = np.full((480, 640, 3), 90, np.uint8)
    film(made / "spelled.mp4", [(blank, 0.4), (call, 1.6), (blank, 0.6), (call, 1.6), (blank, 0.4)])
    film(made / "still.mp4", [(blank, 1.0)])
    film(made / "long.mp4", [(blank, 40.0)], rate=2)
    film(made / "hours.mp4", [(blank, 7200.0)], rate=Fraction(1, 10))
    film(made / "rock.mp4", [(fitted(data_dir / "hands" / "rock_026fd791.jpg"), 1.0)])
    (made / "empty.mp4").write_bytes(b"")
    (made / "text.mp4").write_text("this is no video " * 50)
    (made / "cut.mp4").write_bytes((made / "spelled.mp4").read_bytes()[:2000])
    return made


@pytest.fixture(scope="module")
def videos(folder: Path) -> Iterator[Videos]:
    server = Videos(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RelayProgram]:
    """A relay that may fetch from 127.0.0.1, reads half a minute at most, and keeps three waiting."""
    env = {
        "HOMESIDE_RELAY_SIGNS__BATCH_HOSTS": '["127.0.0.1"]',
        "HOMESIDE_RELAY_SIGNS__BATCH_MINUTES": "0.5",
        "HOMESIDE_RELAY_SIGNS__BATCH_BYTES": "3000000",
        "HOMESIDE_RELAY_SIGNS__BATCH_JOBS": "3",
    }
    program = RelayProgram(tmp_path_factory.mktemp("batch"), env=env)
    yield program
    assert program.stop() == 0
    assert not program.faults()


@pytest.fixture
def api(batch: RelayProgram) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=batch.http, timeout=30.0) as client:
        yield client


def settled(api: httpx.Client, job: str, done: Callable[[dict[str, Any]], bool] | None = None) -> dict[str, Any]:
    """The job's status once it is no longer processing, or as soon as `done` says so."""

    def ready() -> dict[str, Any] | None:
        body: dict[str, Any] = api.get(f"{URL}/{job}").json()
        return body if body["status"] != "processing" or (done is not None and done(body)) else None

    found: dict[str, Any] = until(ready, f"the end of job {job}")
    return found


def begun(api: httpx.Client, url: str, **beside: Any) -> str:
    answer = api.post(URL, json={"video_url": url, "language": "en", **beside})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"job_id", "status", "estimated_time_ms"}
    assert answer.json()["status"] == "processing"
    return str(uuid.UUID(answer.json()["job_id"]))


def test_the_documented_job(api: httpx.Client, videos: Videos) -> None:
    job = begun(api, videos.url("spelled.mp4"), options={"frame_rate": 30, "confidence_threshold": 0.5})
    body = settled(api, job)
    assert (body["job_id"], body["status"], body["progress"]) == (job, "completed", 1.0)
    result = body["result"]
    assert result["signs_detected"] == ["Y", "Y"]
    assert result["translation"]
    assert 0 < result["confidence"] <= 1
    times = [letter["time_ms"] for letter in result["letters"]]
    assert 500 < times[0] < 2100
    assert 2600 < times[1] < 4300
    assert all(0.5 <= letter["confidence"] <= 1 for letter in result["letters"])


def test_an_uploaded_file(api: httpx.Client, batch: RelayProgram, folder: Path) -> None:
    with (folder / "spelled.mp4").open("rb") as file:
        answer = api.post(URL, files={"file": ("a.mp4", file, "video/mp4")}, data={"language": "en"})
    assert answer.status_code == 200
    assert settled(api, answer.json()["job_id"])["result"]["signs_detected"] == ["Y", "Y"]
    assert list((batch.data / "videos-to-read").iterdir()) == []


def test_a_redirect_is_followed(api: httpx.Client, videos: Videos) -> None:
    videos.redirects["/moved"] = "/spelled.mp4"
    assert settled(api, begun(api, videos.url("moved")))["status"] == "completed"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("empty.mp4", "empty"),
        ("text.mp4", "cannot be read"),
        ("cut.mp4", ""),
        ("long.mp4", "longer than"),
        ("hours.mp4", "lasts 120 minutes"),
        ("missing.mp4", "404"),
        ("endless", "larger than"),
    ],
)
def test_what_is_no_video_fails_and_says_why(api: httpx.Client, videos: Videos, name: str, words: str) -> None:
    body = settled(api, begun(api, videos.url(name)))
    assert (body["status"], body["code"]) == ("failed", "VIDEO_REFUSED")
    assert words in body["error"] or "lasts" in body["error"]
    assert "result" not in body


@pytest.mark.parametrize(("name", "code"), [("still.mp4", "NO_HAND_DETECTED"), ("rock.mp4", "INVALID_SIGN")])
def test_a_video_without_letters_is_an_empty_result(api: httpx.Client, videos: Videos, name: str, code: str) -> None:
    body = settled(api, begun(api, videos.url(name), options={"confidence_threshold": 0.8}))
    assert (body["status"], body["code"]) == ("completed", code)
    assert body["result"] == {"translation": "", "signs_detected": [], "confidence": 0.0, "letters": []}


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "ftp://example.org/a.mp4",
        "http://localhost/a.mp4",
        "http://10.0.0.1/a.mp4",
        "http://192.168.1.1/a.mp4",
        "http://[::1]/a.mp4",
        "http://[::ffff:127.0.0.2]/a.mp4",
        "http://[fd00::1]/a.mp4",
        "http://2130706433/a.mp4",
        "http://0x7f.1/a.mp4",
        "http://0/a.mp4",
        "http://user:secret@example.org/a.mp4",
        "http://metadata.google.internal/",
        "http://",
        "//example.org/a.mp4",
        "http://[broken/a.mp4",
        "http://example.org:99999/a.mp4",
    ],
)
def test_addresses_that_are_not_fetched(api: httpx.Client, url: str) -> None:
    answer = api.post(URL, json={"video_url": url})
    assert answer.status_code == 400
    assert answer.json()["code"] == "VIDEO_REFUSED"


@pytest.mark.parametrize("target", ["http://127.0.0.2:1/a.mp4", "file:///etc/passwd", "http://169.254.169.254/"])
def test_a_redirect_does_not_lead_inside(api: httpx.Client, videos: Videos, target: str) -> None:
    videos.redirects["/inside"] = target
    body = settled(api, begun(api, videos.url("inside")))
    assert (body["status"], body["code"]) == ("failed", "VIDEO_REFUSED")


def test_a_redirect_that_never_ends(api: httpx.Client, videos: Videos) -> None:
    videos.redirects["/round"] = "/round"
    assert "moves on" in settled(api, begun(api, videos.url("round")))["error"]


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("169.254.169.254", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("255.255.255.255", False),
    ],
)
def test_which_addresses_are_public(address: str, is_public: bool) -> None:
    assert public(address) is is_public


def test_a_job_is_cancelled_and_others_wait(api: httpx.Client, videos: Videos) -> None:
    first = begun(api, videos.url("spelled.mp4"), options={"frame_rate": 60})
    waiting = [begun(api, videos.url("spelled.mp4")) for _ in range(2)]
    for job in [*waiting, first]:
        cancelled = api.delete(f"{URL}/{job}")
        assert (cancelled.status_code, cancelled.json()["code"]) == (200, "CANCELLED")
        assert api.get(f"{URL}/{job}").status_code == 404
    assert settled(api, begun(api, videos.url("spelled.mp4")))["status"] == "completed"


def test_too_many_are_told_to_come_back(api: httpx.Client, videos: Videos) -> None:
    answers = [api.post(URL, json={"video_url": videos.url("endless")}) for _ in range(12)]
    refused = [one for one in answers if one.status_code == 503]
    assert refused
    assert all(one.json()["code"] == "RELAY_FULL" and one.headers["retry-after"] for one in refused)
    for one in answers:
        if one.status_code == 200:
            api.delete(f"{URL}/{one.json()['job_id']}")


@pytest.mark.parametrize("path", [f"{URL}/c0ffee00-0000-4000-8000-00000000dead", f"{URL}/not-a-uuid"])
def test_unknown_jobs(api: httpx.Client, path: str) -> None:
    assert api.get(path).status_code == 404
    assert api.delete(path).status_code == 404


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"video_url": 5}', b"[1]", b'{"video_url":""}'])
def test_bad_bodies(api: httpx.Client, body: bytes) -> None:
    answer = api.post(URL, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert {"error", "message", "code"} <= set(answer.json())


def test_bad_uploads(api: httpx.Client) -> None:
    assert api.post(URL, files={"other": ("a", b"x")}).status_code == 400
    assert api.post(URL, files={"file": ("a", b"")}).status_code == 400
    assert api.post(URL, files={"file": ("a", b"\0" * 3_500_000)}).status_code == 413
    broken = api.post(URL, content=b"--x\r\nnonsense", headers={"content-type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 400


def test_an_upload_of_no_stated_length_is_refused_before_its_end(api: httpx.Client) -> None:
    head = f"POST {URL} HTTP/1.1\r\nHost: {api.base_url.netloc.decode()}\r\nTransfer-Encoding: chunked\r\n"
    part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=60) as line:
        line.sendall(f"{head}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode() + _chunk(part))
        with suppress(ConnectionError):
            for _ in range(80):
                line.sendall(_chunk(bytes(65_536)))
        assert line.recv(65_536).startswith(b"HTTP/1.1 413")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def test_without_a_detector_it_says_so(tmp_path: Path) -> None:
    program = RelayProgram(tmp_path / "blind", env={"HOMESIDE_RELAY_SIGNS__DETECTORS": "0"})
    answer = httpx.post(f"{program.http}{URL}", json={"video_url": "https://example.com/video.mp4"})
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
    health = httpx.get(f"{program.http}/api/v1/health").json()
    assert health["status"] == "degraded"
    assert health["services"]["media_pipe"] == "down"
    with connect(program.signs.replace("http", "ws") + "/ws/sign-detection") as socket:
        for _ in range(2):
            socket.send(json.dumps({"type": "frame", "payload": {"image": "", "timestamp": 1, "session_id": "a"}}))
            told = json.loads(socket.recv(10.0))
            assert (told["type"], told["payload"]["code"]) == ("error", "SERVICE_UNAVAILABLE")
    assert program.stop() == 0
