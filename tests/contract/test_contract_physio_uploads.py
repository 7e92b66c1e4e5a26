"""Uploads that break and go on, links that expire, and videos in an S3-compatible storage."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.contract.care import Care, data_of, error_of
from tests.peers import Child, free_port, listens

VIDEO = bytes(range(256)) * 12_000
KEYS = {"access_key": "homeside", "secret_key": "not much of a secret"}
BUCKET = "motion"


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """An S3 server (moto's) with a bucket in it; its address."""
    port = free_port()
    server = Child([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
    server.wait_until(lambda: listens(port), "an S3 server", 60.0)
    url = f"http://127.0.0.1:{port}"
    assert httpx.put(f"{url}/{BUCKET}").status_code == 200
    yield url
    server.kill()


@pytest.fixture(scope="module", params=["folder", "bucket"])
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Care]:
    """A relay that keeps videos in its folder, or in the bucket."""
    env = {}
    if request.param == "bucket":
        chosen = {"endpoint": request.getfixturevalue("storage"), "bucket": BUCKET, **KEYS}
        env = {f"HOMESIDE_RELAY_STORAGE__{key.upper()}": value for key, value in chosen.items()}
    running = Care(tmp_path_factory.mktemp(f"videos-{request.param}"), "sqlite", None, env)
    yield running
    assert running.relay.stop() == 0
    assert not running.relay.faults()


def test_a_video_is_kept_played_replaced_and_removed(home: Care) -> None:
    created = home.create()
    with home.nobody() as client:
        put = client.put(created["upload_urls"]["video"], content=VIDEO, headers={"Content-Type": "video/webm"})
        assert data_of(put) == {"session_id": created["session_id"], "size_bytes": len(VIDEO)}
        error_of(client.put(created["upload_urls"]["video"], content=b"again"), 409)
    with home.as_("smith") as client:
        where = f"/api/sessions/{created['session_id']}"
        video_url = client.get(where).json()["session"]["video_url"]
        whole = client.get(video_url)
        assert (whole.content, whole.headers["content-type"]) == (VIDEO, "video/webm")
        for asked, start, stop in (
            ("bytes=1000-1999", 1000, 2000),
            ("bytes=-5", len(VIDEO) - 5, len(VIDEO)),
            (f"bytes={len(VIDEO) - 3}-", len(VIDEO) - 3, len(VIDEO)),
            ("bytes=0-99999999999", 0, len(VIDEO)),
        ):
            part = client.get(video_url, headers={"Range": asked})
            assert (part.status_code, part.content) == (206, VIDEO[start:stop])
            assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(VIDEO)}"
        for odd in ("bytes=5-2", "pages=1-2", "bytes=-", "bytes=0-1,4-5", "bytes=x-"):
            assert client.get(video_url, headers={"Range": odd}).content == VIDEO
        other = client.get(video_url, headers={"Range": "bytes=0-9", "If-Range": '"another"'})
        assert (other.status_code, other.content) == (200, VIDEO)
        assert client.get(video_url, headers={"Range": f"bytes={len(VIDEO)}-"}).status_code == 416
        head = client.head(video_url)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(VIDEO)), b"")
        link = data_of(client.post("/api/upload/generate-url", json={"session_id": created["session_id"]}))
        client.put(link["upload_url"], content=b"a second take")
        assert client.get(video_url).content == b"a second take"
        assert _kept(home, created["session_id"]) == 1
        assert client.delete(where).is_success
        assert _kept(home, created["session_id"]) == 0
        error_of(client.get(video_url), 404)


def _kept(home: Care, session: str) -> int:
    """How many of a session's videos lie in the storage, whole or not."""
    url = home.environment.get("HOMESIDE_RELAY_STORAGE__ENDPOINT")
    if url is None:
        return len(list((home.folder / "videos").glob("*")))
    return httpx.get(f"{url}/{BUCKET}?list-type=2&prefix=videos/{session}").text.count("<Key>")


def test_an_upload_goes_on_where_it_stopped(home: Care) -> None:
    created = home.create()
    url, third = created["upload_urls"]["video"], len(VIDEO) // 3
    with home.nobody() as client:
        assert client.head(url).headers["upload-offset"] == "0"
        begun = client.put(url, content=VIDEO[:third], headers={"Upload-Complete": "?0", "Content-Type": "video/mp4"})
        assert (begun.status_code, begun.headers["upload-offset"]) == (204, str(third))
        told = client.head(url)
        assert (told.status_code, told.headers["upload-complete"]) == (204, "?0")
        assert told.headers["upload-limit"].startswith("max-size=")
        wrong = {"Upload-Offset": str(third - 1), "Upload-Complete": "?0"}
        assert error_of(client.patch(url, content=b"x", headers=wrong), 409)["code"] == "CONFLICT"
        for bad in ({}, {"Upload-Offset": "-1"}, {"Upload-Offset": "0", "Upload-Complete": "yes"}):
            error_of(client.patch(url, content=b"x", headers=bad), 400)
        on = {"Upload-Offset": str(third), "Upload-Complete": "?0"}
        client.patch(url, content=VIDEO[third : 2 * third], headers=on)
        data_of(client.patch(url, content=VIDEO[2 * third :], headers={"Upload-Offset": str(2 * third)}))
        done = client.head(url)
        assert (done.headers["upload-offset"], done.headers["upload-complete"]) == (str(len(VIDEO)), "?1")
        error_of(client.patch(url, content=b"x", headers={"Upload-Offset": str(len(VIDEO))}), 409)
    with home.as_("smith") as client:
        video_url = client.get(f"/api/sessions/{created['session_id']}").json()["session"]["video_url"]
        assert client.get(video_url).content == VIDEO


def test_what_had_arrived_survives_a_broken_connection_and_a_killed_relay(tmp_path: Path) -> None:
    home = Care(tmp_path, "sqlite", None)
    created = home.create()
    url = urlsplit(created["upload_urls"]["video"])
    half = len(VIDEO) // 2
    with socket.create_connection((url.hostname, url.port)) as sender:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(VIDEO)}\r\n\r\n"
        sender.sendall(head.encode() + VIDEO[:half])
        _arrived(home, created["upload_urls"]["video"], half)
        home.relay.kill()
    home.relay = home.relay.again()
    with home.nobody() as client:
        assert client.head(created["upload_urls"]["video"]).headers["upload-offset"] == str(half)
        on = {"Upload-Offset": str(half), "Content-Type": "application/partial-upload"}
        data_of(client.patch(created["upload_urls"]["video"], content=VIDEO[half:], headers=on))
    with home.as_("john") as client:
        video_url = client.get(f"/api/sessions/{created['session_id']}").json()["session"]["video_url"]
        assert client.get(video_url).content == VIDEO
    assert home.relay.stop() == 0


def test_the_later_of_two_senders_goes_on(home: Care) -> None:
    """A connection that nobody holds any more does not lock the sender out who comes back."""
    created = home.create()
    url = urlsplit(created["upload_urls"]["video"])
    with socket.create_connection((url.hostname, url.port)) as stuck:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {len(VIDEO)}\r\n\r\n"
        stuck.sendall(head.encode() + VIDEO[:1000])
        _arrived(home, created["upload_urls"]["video"], 1000)
        with home.nobody() as client:
            rest = client.patch(
                created["upload_urls"]["video"], content=VIDEO[1000:], headers={"Upload-Offset": "1000"}
            )
            assert data_of(rest)["size_bytes"] == len(VIDEO)
        stuck.sendall(VIDEO[1000:2000])
        assert b" 409 " in stuck.recv(4096)


def _arrived(home: Care, url: str, size: int) -> None:
    deadline = time.monotonic() + 30
    with home.nobody() as client:
        while client.head(url).headers["upload-offset"] != str(size):
            assert time.monotonic() < deadline, "the bytes did not arrive"
            time.sleep(0.02)


def test_an_expired_link_takes_nothing_and_plays_nothing(tmp_path: Path) -> None:
    home = Care(tmp_path, "sqlite", None, link_hours=1.5 / 3600, video_bytes=100_000)
    created = home.create(scheduled_datetime=None)
    with home.nobody() as client:
        url = created["upload_urls"]["video"]
        assert error_of(client.put(url, content=b"x" * 100_001), 413)["code"] == "PAYLOAD_TOO_LARGE"
        in_chunks = client.put(url, content=iter([b"x" * 100_001]))
        assert error_of(in_chunks, 413)["code"] == "PAYLOAD_TOO_LARGE"
        assert not list((home.folder / "videos").iterdir())
    link, deadline = home.create(scheduled_datetime=None)["upload_urls"]["video"], time.monotonic() + 30
    with home.nobody() as client:
        while client.head(link).status_code != 403:
            assert time.monotonic() < deadline, "the link does not expire"
            time.sleep(0.1)
        for method in ("PUT", "PATCH"):
            refused = error_of(client.request(method, link, content=b"late", headers={"Upload-Offset": "0"}), 403)
            assert "expired" in refused["message"]
    assert not list((home.folder / "videos").glob("*"))
    assert home.relay.stop() == 0


def test_a_storage_that_is_away_is_a_503_and_the_upload_is_finished_later(tmp_path: Path) -> None:
    """Nothing listens at its address; the bytes stay here until the storage is back."""
    port = free_port()
    env = {"HOMESIDE_RELAY_STORAGE__ENDPOINT": f"http://127.0.0.1:{port}", "HOMESIDE_RELAY_STORAGE__BUCKET": BUCKET}
    env |= {f"HOMESIDE_RELAY_STORAGE__{key.upper()}": value for key, value in KEYS.items()}
    home = Care(tmp_path, "sqlite", None, env)
    created = home.create()
    with home.nobody() as client:
        url = created["upload_urls"]["video"]
        refused = client.put(url, content=VIDEO, timeout=60)
        assert error_of(refused, 503)["code"] == "STORE_UNAVAILABLE"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.head(url).headers["upload-offset"] == str(len(VIDEO))
        server = Child([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])
        server.wait_until(lambda: listens(port), "an S3 server", 60.0)
        assert httpx.put(f"http://127.0.0.1:{port}/{BUCKET}").status_code == 200
        data_of(client.patch(url, content=b"", headers={"Upload-Offset": str(len(VIDEO))}))
    with home.as_("smith") as client:
        video_url = client.get(f"/api/sessions/{created['session_id']}").json()["session"]["video_url"]
        assert client.get(video_url).content == VIDEO
    server.kill()
    assert home.relay.stop() == 0
