"""Real peers for the agent's tests: amqtt, a board on a pseudo-terminal, a relay's side that acknowledges."""

from __future__ import annotations

import json
import os
import select
import threading
import time
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.client as paho
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig

from core.contracts import scg
from core.contracts.topics import FROM_KITS, Lane, parse, subscription, topic
from firmware_bridge.simulator import SimulatedSensor
from tests.peers import free_port


class Amqtt:
    """The broker of a relay without mosquitto: MQTT 3.1.1 only."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"mqtt://127.0.0.1:{self.port}"
        anonymous = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        listeners = {"default": ListenerConfig(bind=f"127.0.0.1:{self.port}")}
        self._broker = Broker(BrokerConfig(listeners=listeners, plugins=anonymous))

    async def start(self) -> None:
        await self._broker.start()

    async def stop(self) -> None:
        await self._broker.shutdown()


class Recorder:
    """The relay's side of the bus: every message is recorded, and only then acknowledged."""

    def __init__(
        self,
        url: str,
        *,
        acks: bool = True,
        keep: bool = True,
        reject: Callable[[dict[str, Any]], bool] | None = None,
    ) -> None:
        self.port = int(url.rsplit(":", 1)[1])
        self.acks, self._keep = acks, keep
        self.ready = threading.Event()
        self.acked: set[tuple[str, str, int]] = set()
        self.messages: dict[tuple[str, str, int], dict[str, Any]] = {}
        self.lanes: dict[tuple[str, str, int], Lane] = {}
        self.order: list[tuple[str, str, int]] = []
        self.came: dict[tuple[str, str, int], float] = {}
        self.copies = 0
        self.status: list[dict[str, Any]] = []
        self._reject = reject
        """`keep` false forgets the bodies of history: seven days of them are no matter of a test's memory."""
        self._lock = threading.Lock()
        self._client = self._connected()

    def _connected(self) -> paho.Client:
        client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv311)
        client.reconnect_delay_set(0.05, 0.2)
        client.on_connect = lambda c, *_: c.subscribe([(subscription(lane), 1) for lane in FROM_KITS])
        client.on_subscribe = lambda *_: self.ready.set()
        client.on_disconnect = lambda *_: self.ready.clear()
        client.on_message = self._take
        client.connect("127.0.0.1", self.port, 15)
        client.loop_start()
        assert self.ready.wait(10)
        return client

    def _take(self, client: paho.Client, _: Any, message: paho.MQTTMessage) -> None:
        found = parse(message.topic)
        assert found is not None
        body = json.loads(message.payload)
        if found.lane is Lane.STATUS:
            self.status.append(body["payload"])
            return
        key = (body["session"], body["boot"], body["seq"])
        with self._lock:
            if key in self.messages:
                assert self.messages[key] in (body, {}), "one number, two messages"
                self.copies += 1
            else:
                self.messages[key] = body if self._keep or found.lane is Lane.LIVE else {}
                self.lanes[key] = found.lane
                self.came[key] = time.time()
                self.order.append(key)
        if self._reject is not None and self._reject(body):
            client.publish(topic(found.kit, Lane.ACK), scg.reject(key[1], key[2], "INVALID_MESSAGE", "no"))
        elif self.acks:
            self.acked.add(key)
            client.publish(topic(found.kit, Lane.ACK), scg.ack(key[1], [[key[2], key[2]]]))

    def command(self, kit: str, name: str, **args: Any) -> None:
        client = self._client
        client.publish(topic(kit, Lane.COMMAND), scg.message("command", {"name": name, "args": args}), qos=1)

    def of(self, kind: str) -> list[dict[str, Any]]:
        with self._lock:
            return [body for body in self.messages.values() if body["type"] == kind]

    def close(self) -> None:
        self._client.disconnect()
        with suppress(RuntimeError):
            self._client.loop_stop()


class TimeSignal:
    """A sensor that feels the time: x is a sawtooth of eight seconds, so a sample's value tells when it was taken."""

    PERIOD_S, SPAN_G = 8.0, 6.0

    def at(self, t_s: Any) -> Any:
        x = (t_s % self.PERIOD_S) / self.PERIOD_S * self.SPAN_G - self.SPAN_G / 2
        return np.column_stack((x, np.zeros_like(x), np.ones_like(x)))

    def take_beats(self, until_s: float) -> list[float]:
        return []

    def take_movements(self, until_s: float) -> list[tuple[float, float]]:
        return []

    @classmethod
    def error_ms(cls, x_g: float, true_s: float) -> float:
        """How far a sample that was given the time `true_s` is from when it was taken."""
        taken = (x_g + cls.SPAN_G / 2) / cls.SPAN_G * cls.PERIOD_S
        off = (true_s - taken + cls.PERIOD_S / 2) % cls.PERIOD_S - cls.PERIOD_S / 2
        return off * 1000


class Sensor:
    """A simulated board behind a real pseudo-terminal, under a name that stays when it is unplugged and plugged in."""

    def __init__(self, folder: Path, signal: Any = None, **options: Any) -> None:
        self.path = folder / "ttySENSOR"
        self.board = SimulatedSensor(signal or TimeSignal(), seed=7, **options)
        self.began_ns = time.monotonic_ns()
        self.answering = True
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._master = self._slave = -1

    def plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.path.unlink(missing_ok=True)
            os.close(self._master)
            os.close(self._slave)

    def _run(self) -> None:
        while not self._stop.is_set():
            readable, _, _ = select.select([self._master], [], [], 0.005)
            elapsed = time.monotonic_ns() - self.began_ns
            asked = os.read(self._master, 4096) if readable else b""
            said = self.board.receive(asked, elapsed) if asked and self.answering else self.board.advance(elapsed)
            with suppress(BlockingIOError):
                os.write(self._master, said)
