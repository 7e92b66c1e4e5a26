"""The video document, as clients written from it alone would use it."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from uuid import UUID

import av
import httpx
import numpy as np
import pytest

from tests.programs import RelayProgram
from tests.waiting import comes
from tests.watching import Watcher, an_offer

NOBODY = "00000000-0000-4000-8000-000000000000"
MISSING = {"detail": "Failed to create video stream: Video file not found"}


def test_root_is_the_documented_body(http: httpx.Client) -> None:
    for accept in ("*/*", "application/json", ""):
        answer = http.get("/", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.json() == {
            "service": "AI Video Streaming Backend",
            "version": "1.0.0",
            "status": "running",
            "endpoints": {
                "docs": "/docs",
                "redoc": "/redoc",
                "api": {"offer": "/api/offer", "sessions": "/api/sessions"},
            },
        }


def test_a_browser_gets_the_start_page(http: httpx.Client) -> None:
    answer = http.get("/", headers={"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"})
    assert answer.headers["content-type"].startswith("text/html")
    assert "Hearts being measured" in answer.text
    assert http.get("/video/", headers={"Accept": "text/html"}).json()["service"] == "AI Video Streaming Backend"


def test_health_and_info_have_the_documented_keys(http: httpx.Client) -> None:
    assert http.get("/health").json() == {
        "status": "healthy",
        "service": "AI Video Streaming Backend",
        "version": "1.0.0",
        "video_available": True,
        "message": "Service is running",
    }
    info = http.get("/info").json()
    assert list(info) == ["application", "video", "webrtc", "ai", "cors"]
    assert list(info["application"]) == ["name", "version", "description"]
    expected = {"path": "sample_video.mp4", "exists": True, "target_fps": 30, "resolution": "640x480"}
    assert info["video"] == expected
    assert info["cors"] == {"allowed_origins": ["*"]}
    assert list(info["ai"]) == ["processing_enabled", "status"]
    assert info["webrtc"] == {"stun_servers": []}
    assert http.get("/api/health").json().keys() == {"status", "active_connections", "service"}


def test_without_its_sample_the_service_is_degraded(tmp_path: Path) -> None:
    relay = RelayProgram(tmp_path)
    try:
        assert httpx.get(f"{relay.http}/health").json()["status"] == "healthy"
        (tmp_path / "media" / "sample_video.mp4").unlink()
        body = httpx.get(f"{relay.http}/health").json()
        assert (body["status"], body["video_available"]) == ("degraded", False)
        assert httpx.get(f"{relay.http}/info").json()["video"]["exists"] is False
        offer = {"sdp": asyncio.run(an_offer()), "type": "offer", "video_path": None}
        answer = httpx.post(f"{relay.http}/api/offer", json=offer)
        assert (answer.status_code, answer.json()) == (500, MISSING)
    finally:
        assert relay.stop() == 0


def test_openapi_is_3_0_and_lists_every_documented_path(http: httpx.Client) -> None:
    documented = {"/", "/health", "/info", "/api/offer", "/api/sessions", "/api/session/{session_id}", "/api/health"}
    for where in ("/openapi.json", "/video/openapi.json"):
        document = http.get(where).json()
        assert re.match(r"3\.0\.\d", document["openapi"])
        assert set(document["paths"]) >= documented
        assert "'type': 'null'" not in str(document)
        assert "const" not in str(document["components"])


async def test_a_client_of_the_document_sees_the_sample(relay: RelayProgram) -> None:
    async with Watcher(relay.http) as seen:
        assert str(UUID(seen.session)) == seen.session
        await seen.frames(60)
        assert set(seen.sizes) == {(640, 480)}
        began, ended = seen.arrived[0], seen.arrived[59]
        assert 20 < 59 / (ended - began) < 45
        steps = [(b - a) % 120 for a, b in zip(seen.counters, seen.counters[1:], strict=False)]
        assert steps.count(1) >= len(steps) * 0.8, seen.counters
        async with httpx.AsyncClient(base_url=relay.http) as client:
            states = (await client.get(f"/api/session/{seen.session}")).json()
            assert states == {
                "session_id": seen.session,
                "connection_state": "connected",
                "ice_connection_state": "connected",
                "ice_gathering_state": "complete",
                "signaling_state": "stable",
            }
            listed = (await client.get("/api/sessions")).json()
            assert listed["count"] == len(listed["active_sessions"])
            assert seen.session in listed["active_sessions"]


async def test_two_sessions_and_their_end(relay: RelayProgram) -> None:
    async with Watcher(relay.http) as one, Watcher(relay.http) as two:
        await one.frames(1)
        await two.frames(1)
        async with httpx.AsyncClient(base_url=relay.http) as client:
            before = (await client.get("/api/health")).json()["active_connections"]
            answer = await client.delete(f"/api/session/{one.session}")
            assert answer.json() == {
                "status": "success",
                "message": f"Session {one.session} closed",
                "active_connections": before - 1,
            }
            again = await client.delete(f"/api/session/{one.session}")
            assert (again.status_code, again.json()) == (404, {"detail": f"Session {one.session} not found"})
        await two.frames(10)


async def test_a_client_that_closes_is_gone(relay: RelayProgram) -> None:
    async with Watcher(relay.http) as seen:
        await seen.frames(5)
    async with httpx.AsyncClient(base_url=relay.http) as client:

        async def gone() -> bool:
            return seen.session not in (await client.get("/api/sessions")).json()["active_sessions"]

        await comes(gone, "end of the session")


@pytest.mark.parametrize("session", [NOBODY, "no-uuid", "x" * 60])
def test_unknown_sessions_are_the_documented_404(http: httpx.Client, session: str) -> None:
    for answer in (http.get(f"/api/session/{session}"), http.delete(f"/api/session/{session}")):
        assert (answer.status_code, answer.json()) == (404, {"detail": f"Session {session} not found"})


async def test_the_type_is_looked_at_before_the_source_and_the_source_before_the_sdp(relay: RelayProgram) -> None:
    async with httpx.AsyncClient(base_url=relay.http) as client:
        wrong = await client.post("/api/offer", json={"sdp": "junk", "type": "answer", "video_path": "missing.mp4"})
        assert (wrong.status_code, wrong.json()) == (400, {"detail": "Expected type 'offer', got 'answer'"})
        missing = await client.post("/api/offer", json={"sdp": "junk", "type": "offer", "video_path": "missing.mp4"})
        assert (missing.status_code, missing.json()) == (500, MISSING)


BAD_PATHS = (
    *("missing.mp4", "../../etc/passwd", "/etc/passwd", "..", ".", "", "file:///etc/passwd", "a\\b.mp4", "x" * 5000),
    *("http://169.254.169.254/latest.mp4", "rtsp://192.0.2.1/a.mp4", "concat:a.mp4|b.mp4", "a\0.mp4", "../secret"),
)


@pytest.mark.parametrize("path", BAD_PATHS)
async def test_a_path_outside_the_media_folder_does_not_exist(relay: RelayProgram, path: str) -> None:
    async with httpx.AsyncClient(base_url=relay.http) as client:
        answer = await client.post("/api/offer", json={"sdp": await an_offer(), "type": "offer", "video_path": path})
    assert (answer.status_code, answer.json()) == (500, MISSING)


async def test_a_link_out_of_the_media_folder_is_not_followed(relay: RelayProgram, tmp_path: Path) -> None:
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"secret")
    link = relay.data / "media" / "link.mp4"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(outside)
    (relay.data / "media" / "junk.mp4").write_bytes(b"this is no video")
    async with httpx.AsyncClient(base_url=relay.http) as client:
        for path in ("link.mp4", "junk.mp4"):
            answer = await client.post(
                "/api/offer", json={"sdp": await an_offer(), "type": "offer", "video_path": path}
            )
            assert (answer.status_code, answer.json()) == (500, MISSING)


async def test_a_file_browsers_cannot_play_is_encoded_anew(relay: RelayProgram) -> None:
    path = relay.data / "media" / "other" / "grey.mkv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(50):
            picture = np.full((240, 320, 3), 60 + number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    async with Watcher(relay.http, video_path="other/grey.mkv") as seen:
        await seen.frames(30)
        assert set(seen.sizes) == {(320, 240)}


BAD_OFFERS = (
    *("", "garbage", "v=0", "v=0\r\n", "v=0\r\nm=video", "v=0\r\n" + "a=x\r\n" * 5000, "v=0\0\r\nm=video 9 x 1\r\n"),
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
    "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=fingerprint:sha-256 AA\r\n",
    "v=0\r\nm=video nine RTP x\r\na=ice-ufrag:aaaa\r\na=fingerprint:none\r\na=mid:0\r\na=rtpmap:x\r\n",
    "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:a\r\na=fingerprint:sha-256\r\na=setup:actpass\r\na=mid:0\r\n",
)


@pytest.mark.parametrize("sdp", BAD_OFFERS, ids=range(len(BAD_OFFERS)))
def test_a_bad_offer_is_refused_and_leaves_nothing(http: httpx.Client, sdp: str) -> None:
    before = http.get("/api/sessions").json()["count"]
    answer = http.post("/api/offer", json={"sdp": sdp, "type": "offer"}, timeout=20)
    assert answer.status_code == 400
    assert list(answer.json()) == ["detail"]
    assert http.get("/api/sessions").json()["count"] == before


@pytest.mark.parametrize(
    "cut",
    [
        ("a=ice-pwd:", "a=ice-pwb:"),
        ("a=mid:0", "a=mid:"),
        ("m=video 9 UDP/TLS/RTP/SAVPF", "m=video 9 UDP/TLS/RTP/SAVPF x"),
        ("a=rtpmap:", "a=rtpmap:zz "),
        ("a=candidate:", "a=candidate:1 "),
        ("a=setup:actpass", "a=setup:banana"),
        ("H264/90000", "H999/90000"),
        ("a=group:BUNDLE 0", "a=group:BUNDLE 1 2"),
    ],
)
async def test_a_damaged_offer_gets_a_4xx_or_an_answer_and_never_hangs(
    relay: RelayProgram, cut: tuple[str, str]
) -> None:
    sdp = (await an_offer()).replace(*cut)
    async with httpx.AsyncClient(base_url=relay.http, timeout=20) as client:
        answer = await client.post("/api/offer", json={"sdp": sdp, "type": "offer"})
        assert answer.status_code in (200, 400), answer.text
        if answer.status_code == 200:
            assert (await client.delete(f"/api/session/{answer.json()['session_id']}")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"type":"offer"}', b'{"sdp":5,"type":"offer"}', b"\xff"])
def test_missing_and_malformed_fields_are_a_400_with_detail(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/api/offer", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert isinstance(answer.json()["detail"], str)


def test_a_megabyte_of_offer_is_refused(http: httpx.Client) -> None:
    answer = http.post("/api/offer", json={"sdp": "v=0\r\n" + "a" * 1_000_000, "type": "offer"})
    assert answer.status_code in (400, 413)
    raw = http.post("/api/whip/kit-1", content=b"v=0" * 400_000, headers={"Content-Type": "application/sdp"})
    assert raw.status_code == 413


async def test_mdns_candidates_do_not_delay_the_answer(relay: RelayProgram) -> None:
    offer = await an_offer()
    line = "a=candidate:1 1 udp 2113937151 0a1b2c3d-0000-4000-8000-000000000000.local 50000 typ host\r\n"
    sdp = offer.replace("a=end-of-candidates", line * 5 + "a=end-of-candidates")
    assert ".local" in sdp
    async with httpx.AsyncClient(base_url=relay.http, timeout=20) as client:
        answer = await client.post("/api/offer", json={"sdp": sdp, "type": "offer"})
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 5
        await client.delete(f"/api/session/{answer.json()['session_id']}")


@pytest.mark.parametrize(
    "path", ["/api/offer", "/api/sessions", f"/api/session/{NOBODY}", "/health", "/video/api/offer"]
)
def test_any_origin_may_ask(http: httpx.Client, path: str) -> None:
    asked = {"Origin": "https://ward.example", "Access-Control-Request-Headers": "content-type"}
    answer = http.options(path, headers={**asked, "Access-Control-Request-Method": "POST"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] in ("*", "https://ward.example")
    assert "content-type" in answer.headers["access-control-allow-headers"].lower()


def test_under_a_prefix_this_api_alone_answers(http: httpx.Client) -> None:
    assert http.get("/video/api/sessions").json().keys() == {"active_sessions", "count"}
    assert http.get("/video/api/session/x").json() == {"detail": "Session x not found"}
    assert http.get("/video/nothing").status_code == 404
    assert http.get("/physio/api/sessions").json()["success"] is False
    assert http.put("/api/offer").status_code == 405


def test_the_reference_is_served_from_here(http: httpx.Client) -> None:
    for path in ("/docs", "/redoc", "/video/docs", "/video/redoc"):
        answer = http.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "//cdn" not in answer.text
        for name in re.findall(r'(?:src|href)="(/[^"]+)"', answer.text):
            assert http.get(name).status_code == 200, name
