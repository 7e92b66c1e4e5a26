"""The whole heart line as its users run it: simulated sensor, agent, broker and relay, each a process of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as mqtt

from core.contracts.topics import ROOT
from tests.peers import Child, Mosquitto, start_homeside
from tests.programs import RelayProgram

KIT = "bedside-01"


class Line:
    """Sensor → agent → broker → relay. With a mosquitto, or with the relay's own broker."""

    def __init__(self, folder: Path, broker: Mosquitto | None = None, sensor: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.broker = broker
        self.port = folder / "sensor"
        options: tuple[str, ...] = ()
        if broker is not None:
            config = folder / "relay.toml"
            config.write_text(f'[mqtt]\nurl = "{broker.url}"\n')
            options = ("--config", str(config))
        self.relay = RelayProgram(folder / "relay", *options)
        self.relay.hears_kits()
        self.sensor = start_homeside("simulate", "--link", self.port, "--seed", "5", *sensor)
        self.sensor.wait_until(self.port.exists, "its serial port")
        self.agent = self.start_agent()
        self.session = self.agent.wait_for_event("session_started")["session"]
        self.relay.child.wait_for_event("session_created")

    @property
    def broker_url(self) -> str:
        return self.broker.url if self.broker is not None else f"mqtt://127.0.0.1:{self.relay.mqtt_port}"

    def start_agent(self) -> Child:
        words = ("--serial", self.port, "--broker", self.broker_url, "--kit", KIT, "--state", self.folder / "kit")
        return start_homeside("agent", *words)

    def stored(self) -> list[dict[str, Any]]:
        answer = httpx.get(f"{self.relay.http}/api/v1/sessions/{self.session}", timeout=30)
        return list(answer.json()["samples"])

    def close(self) -> None:
        for child in (self.agent, self.sensor, self.relay.child):
            if child.running:
                child.end()


@contextmanager
def running_line(folder: Path, broker: Mosquitto | None = None, sensor: tuple[str, ...] = ()) -> Iterator[Line]:
    line = Line(folder, broker, sensor)
    try:
        yield line
    finally:
        line.close()


class Witness:
    """Hears what the kit says and what the relay acknowledges, and believes neither."""

    def __init__(self, port: int) -> None:
        self.said: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self.acked: set[tuple[str, int]] = set()
        self.lock = threading.Lock()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="witness", clean_session=False)
        self.client.reconnect_delay_set(0.05, 0.2)
        self.client.on_connect = lambda client, *_: client.subscribe(f"{ROOT}/#", qos=1)
        self.client.on_message = self._heard
        self.client.connect("127.0.0.1", port, keepalive=15)
        self.client.loop_start()

    def _heard(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        body = json.loads(message.payload)
        with self.lock:
            if body["type"] == "samples_batch":
                self.said[body["boot"], body["seq"]] = body["payload"]["samples"]
            elif body["type"] == "ack":
                for start, end in body["payload"]["seq"]:
                    self.acked |= {(body["payload"]["boot"], seq) for seq in range(start, end + 1)}

    def acknowledged(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        with self.lock:
            return {key: samples for key, samples in self.said.items() if key in self.acked}

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
