"""A kit's side of the bus for tests: real MQTT (paho), and every answer of the relay collected."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import paho.mqtt.client as mqtt

from core.contracts.topics import Lane, topic
from tests.waiting import PATIENCE_S

STATUS = {
    "state": "online",
    "version": "0.1.0",
    "session": None,
    "backlog": 0,
    "clockErrorMs": 2.5,
    "sources": [{"name": "serial", "problem": None, "batteryPercent": 81}],
    "machine": {"platform": "cp311-aarch64", "temperature": 54.0, "diskFree": 9 << 30},
    "packages": "d1",
}


class Kit:
    """One connected kit. `answers` holds what came on its ack topic."""

    def __init__(
        self, port: int | str, name: str = "bedside-01", *, password: str | None = None, ca: Path | None = None
    ) -> None:
        self.name = name
        self.session = str(uuid4())
        self.answers: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"{name}-{uuid4().hex[:6]}")
        if password is not None:
            self.client.username_pw_set(name, password)
        if ca is not None:
            self.client.tls_set(str(ca))
        self.connected = threading.Event()
        self.refused: list[Any] = []
        self.client.on_connect = self._on_connect
        self.client.on_subscribe = self._on_subscribe
        self.client.on_message = self._on_message
        host, number = ("127.0.0.1", port) if isinstance(port, int) else (port, 1883)
        self.client.connect(host, number, keepalive=15)
        self.client.loop_start()

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self.refused.append(reason)
        else:
            client.subscribe(topic(self.name, Lane.ACK), qos=1)
            return
        self.connected.set()

    def _on_subscribe(self, *_: Any) -> None:
        self.connected.set()

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        with self._news:
            self.answers.append(json.loads(message.payload))
            self._news.notify_all()

    def say(self, kind: str, payload: dict[str, Any], *, boot: str, seq: int, lane: Lane = Lane.LIVE) -> None:
        body = {"type": kind, "session": self.session, "boot": boot, "seq": seq, "payload": payload}
        self.raw(json.dumps(body), lane)

    def raw(self, body: str | bytes, lane: Lane = Lane.LIVE) -> None:
        self.client.publish(topic(self.name, lane), body, qos=1).wait_for_publish(10)

    def acked(self, boot: str) -> set[int]:
        ranges = [
            r for a in self.answers if a["type"] == "ack" and a["payload"]["boot"] == boot for r in a["payload"]["seq"]
        ]
        return {n for start, end in ranges for n in range(start, end + 1)}

    def until(self, condition: Callable[[], Any], within_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + within_s
        with self._news:
            while not condition():
                left = deadline - time.monotonic()
                assert left > 0, f"answers so far: {self.answers}"
                self._news.wait(left)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        if (left_open := self.client.socket()) is not None:
            left_open.close()


class FleetKit(Kit):
    """A kit that says how it is, and remembers what it was told."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port, name)
        assert self.connected.wait(10)
        self.client.subscribe(f"homeside/v1/{name}/command", qos=1)

    def tell(self, **changes: Any) -> None:
        body = {"type": "status", "payload": {**STATUS, **changes}}
        self.client.publish(f"homeside/v1/{self.name}/status", json.dumps(body), qos=1, retain=True).wait_for_publish(
            10
        )

    def told(self, name: str) -> list[dict[str, Any]]:
        commands = [one["payload"] for one in self.answers if one["type"] == "command"]
        return [one["args"] for one in commands if one["name"] == name]

    def until_told(self, name: str) -> dict[str, Any]:
        self.until(lambda: self.told(name))
        return self.told(name)[-1]
