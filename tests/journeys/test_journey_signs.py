"""From a hand before the kit's camera to a sentence before whoever watches: no picture leaves the kit."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import paho.mqtt.client as mqtt

from core.contracts.topics import Lane, topic
from tests.contract.sockets import Socket
from tests.films import film, fitted
from tests.peers import Child
from tests.programs import RelayProgram


def signed(folder: Path, photographs: Path) -> Path:
    """A video in which somebody shows Y twice, and then nothing for a while."""
    call = fitted(photographs / "call_0413d5c5.jpg")
    nobody = call * 0 + 90
    return film(folder / "signed.mp4", [(nobody, 1.0), (call, 1.5), (nobody, 0.6), (call, 1.5), (nobody, 4.0)])


async def test_a_kit_reads_signs_for_those_who_watch(
    homeside: Callable[..., Child], tmp_path: Path, data_dir: Path
) -> None:
    relay = RelayProgram(tmp_path / "relay", env={"HOMESIDE_RELAY_SIGNS__DETECTORS": "0"})
    relay.hears_kits()
    session = str(uuid.uuid4())
    camera = ("--camera", str(signed(tmp_path, data_dir / "hands")), "--broker", f"mqtt://127.0.0.1:{relay.mqtt_port}")
    env = {"HOMESIDE_AGENT_SOURCE__CAMERA__LOOP": "true"}
    async with Socket(relay.signs.replace("http", "ws") + "/ws/sign-detection") as watcher:
        await watcher.send({"type": "command", "payload": {"action": "watch", "session_id": session}})
        await watcher.message("command")
        kit = homeside("agent", "--state", tmp_path / "state", "--kit", "bed-7", *camera, env=env)
        kit.wait_for_event("broker_connected")
        command(relay, "bed-7", "look", {"for": "hands", "session": session})
        assert (await watcher.message("sequence", within_s=60.0)).get("payload") == {
            "session_id": session,
            "letters": ["Y"],
        }
        translation = (await watcher.message("translation", within_s=60.0))["payload"]
        assert translation["session_id"] == session
        assert translation["fallback"] is True
        assert {one["type"] for one in watcher.got} == {"command", "sequence", "translation"}
    kept = [entry for entry in kit.entries() if entry.get("event") == "spelling_started"]
    assert kept[0]["session"] == session
    assert kit.end() == 0
    assert relay.stop() == 0


def command(relay: RelayProgram, kit: str, name: str, args: dict[str, str]) -> None:
    """As the relay sends it, to a kit that has subscribed."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect("127.0.0.1", relay.mqtt_port)
    client.loop_start()
    body = json.dumps({"type": "command", "payload": {"name": name, "args": args}})
    client.publish(topic(kit, Lane.COMMAND), body, qos=1).wait_for_publish(10.0)
    client.disconnect()
    client.loop_stop()
