"""Sign detection over its WebSocket, with photographs of hands: the document's messages, and all that is none."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import uuid
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.contract.sockets import Socket
from tests.programs import RelayProgram

PATH = "/ws/sign-detection"
TIMESTAMP = 1707151200000


@pytest.fixture
def url(relay: RelayProgram) -> str:
    return relay.signs.replace("http", "ws") + PATH


@pytest.fixture(scope="module")
def hands(data_dir: Path) -> dict[str, list[bytes]]:
    """Photographs of hands, by what they show: call (the letter Y), four, rock, none of these."""
    found: dict[str, list[bytes]] = {}
    for path in sorted((data_dir / "hands").glob("*.jpg")):
        found.setdefault(path.stem.split("_")[0], []).append(path.read_bytes())
    return found


def jpeg(pixels: Any) -> bytes:
    done, data = cv2.imencode(".jpg", pixels)
    assert done
    return bytes(data)


BLANK = jpeg(np.zeros((480, 640, 3), np.uint8))


def frame(image: bytes | str, session: str = "s", **beside: Any) -> dict[str, Any]:
    text = image if isinstance(image, str) else base64.b64encode(image).decode()
    return {"type": "frame", "payload": {"image": text, "timestamp": TIMESTAMP, "session_id": session, **beside}}


def command(action: str, session: str = "s", **beside: Any) -> dict[str, Any]:
    return {"type": "command", "payload": {"action": action, "session_id": session, **beside}}


async def show(socket: Socket, image: bytes | str, session: str = "s", **beside: Any) -> dict[str, Any]:
    """A frame, and the detection that answers it."""
    count = len([one for one in socket.got if one["type"] in ("detection", "error")])
    await socket.send(frame(image, session, **beside))
    found = await socket.until(
        lambda got: (of := [one for one in got if one["type"] in ("detection", "error")])[count:] and of
    )
    return dict(found[count])


async def hold(socket: Socket, image: bytes, session: str, seconds: float) -> None:
    """The same picture ten times a second."""
    for _ in range(int(seconds * 10)):
        await socket.send(frame(image, session))
        await asyncio.sleep(0.1)


async def test_a_hand_is_detected(url: str, hands: dict[str, list[bytes]]) -> None:
    async with Socket(url) as socket:
        for image in hands["call"]:
            found = await show(socket, image, str(uuid.uuid4()))
            assert found["type"] == "detection"
            payload = found["payload"]
            assert set(payload) == {"sign", "confidence", "hand_detected", "landmarks", "timestamp"}
            assert (payload["sign"], payload["hand_detected"], payload["timestamp"]) == ("Y", True, TIMESTAMP)
            assert len(payload["landmarks"]) == 21
            assert all(len(point) == 2 for point in payload["landmarks"])
            assert 0.5 < payload["confidence"] <= 1


async def test_no_hand(url: str) -> None:
    async with Socket(url) as socket:
        assert await show(socket, BLANK) == {
            "type": "detection",
            "payload": {"sign": None, "confidence": 0, "hand_detected": False, "timestamp": TIMESTAMP},
        }


async def test_what_is_no_letter_is_unsure(url: str, hands: dict[str, list[bytes]]) -> None:
    async with Socket(url) as socket:
        await socket.send(command("start", extras=True))
        for image in [*hands["rock"], *hands["none"]]:
            payload = (await show(socket, image))["payload"]
            assert payload["sign"] is None
            assert payload["confidence"] < 0.8
            assert payload["alternatives"][0]["confidence"] == payload["confidence"]


@pytest.mark.parametrize(("action", "status"), [("start", "started"), ("stop", "stopped"), ("clear", "cleared")])
async def test_commands_are_answered(url: str, action: str, status: str) -> None:
    async with Socket(url) as socket:
        await socket.send(command(action, "any string, no UUID"))
        answer = await socket.message("command")
        assert answer == {"type": "command", "payload": {"status": status, "session_id": "any string, no UUID"}}


async def test_a_hand_held_for_three_seconds_is_one_letter(url: str, hands: dict[str, list[bytes]]) -> None:
    session = str(uuid.uuid4())
    async with Socket(url) as socket:
        await socket.send(command("start", session))
        await hold(socket, hands["call"][0], session, 4.0)
        translation = await socket.message("translation")
        await socket.send(command("stop", session))
        await socket.message("command", 2)
        assert translation["payload"]["translation"] == "Y"
        assert translation["payload"]["session_id"] == session
        assert len([one for one in socket.got if one["type"] == "translation"]) == 1


async def test_two_clients_never_mix(url: str, relay: RelayProgram, hands: dict[str, list[bytes]]) -> None:
    """One shows a Y, the other an open space and no hand; the one's letters never become the other's."""
    one, other = str(uuid.uuid4()), str(uuid.uuid4())
    async with Socket(url) as first, Socket(url) as second:
        for socket, session in ((first, one), (second, other)):
            await socket.send(command("start", session, extras=True))
        await asyncio.gather(hold(first, hands["call"][0], one, 1.5), hold(second, BLANK, other, 1.5))
        await first.send(command("stop", one))
        await second.send(command("stop", other))
        assert (await first.message("translation"))["payload"]["session_id"] == one
        await second.message("command", 2)
        detections = [message["payload"] for message in second.got if message["type"] == "detection"]
        assert detections
        assert all(payload["sequence"] == [] and not payload["hand_detected"] for payload in detections)
        assert not [message for message in second.got if message["type"] == "translation"]
    assert httpx.get(f"{relay.translate}/api/v1/context/{one}").json()["history"][0]["signs"] == ["Y"]
    assert httpx.get(f"{relay.translate}/api/v1/context/{other}").status_code == 404


async def test_who_watches_sees_the_letters(url: str, hands: dict[str, list[bytes]]) -> None:
    session = str(uuid.uuid4())
    async with Socket(url) as signer, Socket(url) as watcher:
        await watcher.send(command("watch", session))
        await watcher.message("command")
        await signer.send(command("start", session))
        await hold(signer, hands["call"][0], session, 1.5)
        await signer.send(command("stop", session))
        assert (await watcher.message("sequence"))["payload"] == {"session_id": session, "letters": ["Y"]}
        assert (await watcher.message("translation"))["payload"]["translation"] == "Y"
        assert not [one for one in watcher.got if one["type"] == "detection"]


def dimensions_claimed(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 9 :]


PNG = bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1])


@pytest.mark.parametrize(
    "image",
    [
        "not base64 at all!",
        "",
        base64.b64encode(b"not a picture").decode(),
        base64.b64encode(PNG).decode(),
        base64.b64encode(BLANK[:300]).decode(),
        base64.b64encode(BLANK[:4]).decode(),
        base64.b64encode(dimensions_claimed(BLANK, 65_000, 65_000)).decode(),
        base64.b64encode(b"\xff\xd8" + b"\xff" * 5000).decode(),
    ],
)
async def test_what_is_no_picture_is_an_error_and_the_socket_stays(url: str, image: str) -> None:
    async with Socket(url) as socket:
        found = await show(socket, image)
        assert found["type"] == "error"
        assert set(found["payload"]) == {"message", "code"}
        assert found["payload"]["code"] == "INVALID_IMAGE"
        assert (await show(socket, BLANK))["type"] == "detection"


async def test_a_data_url_is_a_picture_too(url: str) -> None:
    async with Socket(url) as socket:
        text = "data:image/jpeg;base64," + base64.b64encode(BLANK).decode()
        assert (await show(socket, text))["type"] == "detection"


async def test_a_hundred_malformed_messages(url: str) -> None:
    rng = random.Random(5)
    good = json.dumps(command("start"))
    kinds: list[str] = ["", "null", "[]", "{}", '{"type":"frame"}', '{"type":"frame","payload":{}}', '{"type":1}']
    kinds += ['{"type":"dance","payload":{}}', json.dumps(command("jump")), '{"type":"command","payload":[]}']
    kinds += [json.dumps(frame("", session="x" * 200)), '{"type":"frame","payload":{"image":5,"timestamp":1}}']
    kinds += ["[" * 5000, good.replace("start", "st\\u0000")]
    for _ in range(100 - len(kinds)):
        at = rng.randrange(len(good))
        kinds.append(good[:at] + rng.choice('{}[]":,x') + good[at + rng.randrange(1, 4) :] + "}")
    async with Socket(url) as socket:
        for text in kinds:
            await socket.send(text)
        answered = await socket.until(
            lambda got: (of := [one for one in got if one["type"] in ("error", "command")])[99:] and of, 30.0
        )
        assert len([one for one in answered if one["type"] == "error"]) >= 80
        assert (await show(socket, BLANK))["type"] == "detection"


async def test_a_flood_is_answered_by_its_newest(url: str, relay: RelayProgram, hands: dict[str, list[bytes]]) -> None:
    async with Socket(url) as socket, Socket(url) as patient:
        for number in range(200):
            message = frame(BLANK)
            message["payload"]["timestamp"] = number
            await socket.send(message)
        assert (await show(patient, hands["call"][0], str(uuid.uuid4())))["payload"]["sign"] == "Y"
        got = await socket.until(lambda got: got[-1:] and got[-1]["payload"]["timestamp"] == 199 and got)
        assert len(got) < 200
        times = [one["payload"]["timestamp"] for one in got]
        assert times == sorted(times)
    assert 'homeside_signs_dropped_total{what="frame"}' in httpx.get(f"{relay.http}/metrics").text


def of_right_hand(detection: dict[str, Any]) -> list[list[float]]:
    """The landmarks, mirrored when they are a left hand's."""
    points = detection["payload"]["landmarks"]
    return points if detection["payload"]["right_hand"] else [[1 - x, y] for x, y in points]


async def test_calibration_is_kept_and_read_with(url: str, relay: RelayProgram, hands: dict[str, list[bytes]]) -> None:
    """Somebody whose X looks like a rock sign, which nobody else's does: read as X once they have shown it."""
    name, session = "anna right", str(uuid.uuid4())
    calibration = f"{relay.signs}/api/v1/calibration/{name}"
    async with Socket(url) as socket:
        await socket.send(command("start", session, extras=True))
        seen = {kind: [await show(socket, one, session) for one in hands[kind]] for kind in ("rock", "call", "four")}
        assert {one["payload"]["sign"] for one in seen["rock"]} == {None}
        shown = {
            kind: [of_right_hand(one) for one in of if one["payload"]["hand_detected"]] for kind, of in seen.items()
        }
        letters = {"X": shown["rock"], "Y": shown["call"], "B": shown["four"] * 2}
        body = {"letters": letters, "aspect": seen["call"][0]["payload"]["aspect"], "right": True}
        saved = httpx.put(calibration, json=body)
        assert (saved.status_code, saved.json()["letters"]) == (200, ["B", "X", "Y"])
        await socket.send(command("start", session, extras=True, calibration=name))
        await asyncio.sleep(0)
        read = [await show(socket, one, session) for _ in range(2) for one in hands["rock"]]
        assert {one["payload"]["sign"] for one in read[3:]} == {"X"}
    assert httpx.delete(calibration).status_code == 204
    assert httpx.delete(calibration).status_code == 404
    assert httpx.put(calibration, json={**body, "letters": {"X": shown["rock"]}}).status_code == 400


async def test_an_unknown_calibration_is_an_error(url: str) -> None:
    async with Socket(url) as socket:
        await socket.send(command("start", calibration="nobody's"))
        assert (await socket.message("error"))["payload"]["code"] == "NOT_FOUND"
