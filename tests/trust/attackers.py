"""A kit with a good certificate and bad intentions: plain MQTT, whatever topic, client id and will it likes."""

from __future__ import annotations

import ssl
import threading
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from tests.waiting import PATIENCE_S, until

REFUSED = 128


class Client:
    """One connection; keeps every message it is sent."""

    def __init__(
        self,
        port: int,
        client_id: str = "",
        *,
        identity: Path | None = None,
        ca: Path | None = None,
        login: tuple[str, str] | None = None,
        clean: bool = True,
        will: tuple[str, bytes] | None = None,
    ) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.granted: list[int] = []
        self.ended = threading.Event()
        self.connected = threading.Event()
        self.refused = threading.Event()
        self._subscribed = threading.Event()
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=client_id, clean_session=clean, reconnect_on_failure=False
        )
        if login:
            self.client.username_pw_set(*login)
        if ca:
            self.client.tls_set_context(_context(ca, identity))
        if will:
            self.client.will_set(*will, qos=1, retain=True)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self.ended.set()
        self.client.on_message = lambda _c, _u, message: self.got.append((message.topic, message.payload))
        self.client.on_subscribe = self._on_subscribe
        try:
            self.client.connect("127.0.0.1", port, keepalive=15)
        except OSError:
            self.refused.set()
            self.ended.set()
            return
        self.client.loop_start()

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: Any, _p: Any) -> None:
        (self.refused if reason.is_failure else self.connected).set()

    def _on_subscribe(self, _c: Any, _u: Any, _m: int, reasons: list[Any], _p: Any) -> None:
        self.granted = [reason.value for reason in reasons]
        self._subscribed.set()

    def admitted(self, within_s: float = PATIENCE_S) -> bool:
        """Whether it was let in; waits for the broker's word, or for the connection's end."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if self.connected.wait(0.02):
                return True
            if self.refused.is_set() or self.ended.is_set():
                return False
        raise AssertionError("the broker says nothing")

    def subscribe(self, topic: str, qos: int = 1) -> bool:
        """Whether the broker says it has subscribed; a broker may say so and deliver nothing."""
        self._subscribed.clear()
        self.client.subscribe(topic, qos)
        until(lambda: self._subscribed.is_set() or self.ended.is_set())
        return self._subscribed.is_set() and self.granted[0] < REFUSED

    def publish(self, topic: str, body: bytes, *, retain: bool = False) -> None:
        """Waits for the PUBACK, or for the broker to close the connection over it."""
        sent = self.client.publish(topic, body, qos=1, retain=retain)
        until(lambda: sent.is_published() or self.ended.is_set())

    def drop(self) -> None:
        """Gone without a DISCONNECT, so that the will is sent."""
        socket = self.client.socket()
        if socket is not None:
            socket.close()
        self.close()

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        if (left_open := self.client.socket()) is not None:
            left_open.close()


def _context(ca: Path, identity: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(ca))
    if identity is not None:
        context.load_cert_chain(identity)
    return context
