"""One MQTT connection, from CONNECT to its end; never reconnected or reused, so none of paho's queues outlives it.

paho runs its own network thread; its callbacks are handed to the event loop here. MQTT 5 is preferred, because MQTT
3.1.1 gives no sign of a refused publish. `speaks_5` recognises brokers without it by a trial connection that has no
last will: amqtt mistakes an MQTT 5 will's properties for its topic, and then never answers.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent.errors import BrokerRefused, BrokerUnreachable, ProtocolRefused, UplinkError
from agent.identity.exchange import NO_DATES
from agent.identity.folder import within_life
from agent.sections import Broker
from core.contracts.topics import TO_KITS, Lane, parse, topic

CONNECT_WITHIN_S = 10.0
PROBE_WITHIN_S = 3.0
V5, V311 = MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311
_UNSUPPORTED_VERSION = 132
_UNLIMITED = 65_535


class Listener(Protocol):
    """Called on the event loop, in the order of events."""

    def on_taken(self, mid: int, refused: str | None) -> None: ...

    def on_message(self, lane: Lane, body: bytes, *, retained: bool) -> None: ...

    def on_closed(self, reason: str) -> None: ...


class Link:
    """Created by `open`. `in_flight_limit`: publishes that the broker allows before its PUBACK."""

    def __init__(
        self,
        broker: Broker,
        kit: str,
        version: MQTTProtocolVersion,
        *,
        will: bytes | None = None,
        listener: Listener | None = None,
        alias: str = "",
        lanes: tuple[Lane, ...] = TO_KITS,
    ) -> None:
        self.version = version
        self.in_flight_limit = _UNLIMITED
        self._broker = broker
        self._kit = kit
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._closed: asyncio.Future[str] = self._loop.create_future()
        self._dialled: asyncio.Future[None] = self._loop.create_future()
        self._answered: asyncio.Future[None] = self._loop.create_future()
        self._subscribed: asyncio.Future[None] = self._loop.create_future()
        self._given_up = False
        self._lanes = lanes
        self._client = self._build(will, f"homeside-{kit}" + (f"-{alias}" if alias else ""))

    @classmethod
    async def open(
        cls,
        broker: Broker,
        kit: str,
        version: MQTTProtocolVersion,
        *,
        listener: Listener,
        will: bytes | None = None,
        alias: str = "",
        lanes: tuple[Lane, ...] = TO_KITS,
    ) -> Link:
        """Connect and subscribe to `lanes`. Raises BrokerUnreachable, BrokerRefused or ProtocolRefused.

        A client id can be connected only once; an `alias` gives another id, which leaves the agent's own connection
        alone.
        """
        link = cls(broker, kit, version, will=will, listener=listener, alias=alias, lanes=lanes)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await link._dial()
                await link._answered
                await link._subscribe()
        except TimeoutError:
            link.abort()
            raise BrokerUnreachable(f"{link._where} does not answer within {CONNECT_WITHIN_S:.0f} s") from None
        except BaseException:
            link.abort()
            raise
        return link

    @classmethod
    async def speaks_5(cls, broker: Broker, kit: str, alias: str = "") -> bool:
        """Whether the broker accepts an MQTT 5 connection. Raises BrokerUnreachable or BrokerRefused."""
        link = cls(broker, kit, V5, alias=alias)
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await link._dial()
            async with asyncio.timeout(PROBE_WITHIN_S):
                await link._answered
            await link.close(within_s=PROBE_WITHIN_S)
        except (ProtocolRefused, TimeoutError):
            if not link._dialled.done():
                raise BrokerUnreachable(f"{link._where} does not answer within {CONNECT_WITHIN_S:.0f} s") from None
            return False
        finally:
            link.abort()
        return True

    @property
    def is_open(self) -> bool:
        return self._answered.done() and not self._closed.done()

    def publish(self, lane: Lane, body: bytes, *, retain: bool = False) -> int:
        """Hand a message to the network thread, QoS 1; returns the id that `on_taken` will be called with."""
        return self._client.publish(topic(self._kit, lane), body, qos=1, retain=retain).mid

    async def close(self, within_s: float) -> None:
        """Disconnect in order, so that the broker does not publish the last will."""
        self._given_up = True
        self._client.disconnect()
        await asyncio.wait([self._closed], timeout=within_s)
        self.abort()

    def abort(self) -> None:
        """Disconnect at once, in any state; the network thread then ends by itself."""
        self._given_up = True
        self._client.disconnect()
        with suppress(OSError, AttributeError):
            self._client.socket().shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
        for future in (self._dialled, self._answered, self._subscribed):
            if not future.cancel() and not future.cancelled():
                future.exception()

    def _build(self, will: bytes | None, client_id: str) -> paho.Client:
        broker, five = self._broker, self.version == V5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            clean_session=None if five else True,
            protocol=self.version,
            transport="websockets" if broker.websocket else "tcp",
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(0)
        client.connect_timeout = CONNECT_WITHIN_S
        if will is not None:
            client.will_set(topic(self._kit, Lane.STATUS), will, qos=1, retain=True)
        username, password = broker.login(self._kit)
        if username is not None:
            client.username_pw_set(username, password)
        if broker.websocket:
            client.ws_set_options(path=broker.path)
        if broker.encrypted:
            client.tls_set_context(_tls(broker))
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message, client.on_subscribe = (
            self._on_publish,
            self._on_message,
            self._on_subscribe,
        )
        return client

    @property
    def _where(self) -> str:
        return f"{self._broker.scheme}://{self._broker.host}:{self._broker.port}"

    async def _dial(self) -> None:
        """Connect in a daemon thread, because name lookup, TCP and TLS block and must not delay exiting."""

        def dial() -> None:
            try:
                self._client.connect(self._broker.host, self._broker.port, self._broker.keepalive_s)
            except (OSError, ValueError) as error:
                self._tell(self._fail, _unreachable(self._where, error))
                return
            self._client.loop_start()
            if self._given_up:
                self._client.disconnect()
            self._tell(self._reach)

        threading.Thread(target=dial, name="mqtt-dial", daemon=True).start()
        await self._dialled

    async def _subscribe(self) -> None:
        wanted = [(topic(self._kit, lane), int(lane is Lane.COMMAND)) for lane in self._lanes]
        self._client.subscribe(wanted)
        await self._subscribed

    def _fail(self, error: UplinkError) -> None:
        for future in (self._dialled, self._answered, self._subscribed):
            if not future.done():
                future.set_exception(error)
                return

    def _reach(self) -> None:
        if not self._dialled.done():
            self._dialled.set_result(None)

    def _answer(self, refusal: UplinkError | None, limit: int) -> None:
        self.in_flight_limit = limit
        if refusal is not None:
            self._fail(refusal)
        elif not self._answered.done():
            self._answered.set_result(None)

    def _accept(self, refused: str | None) -> None:
        if refused is not None:
            self._fail(BrokerRefused(f"the broker refuses the subscription: {refused}; check the kit's rights there"))
        elif not self._subscribed.done():
            self._subscribed.set_result(None)

    def _end(self, reason: str) -> None:
        if not self._closed.done():
            self._closed.set_result(reason)
            if self._answered.done() and self._subscribed.done():
                if self._listener is not None and not self._given_up:
                    self._listener.on_closed(reason)
            elif self.version == V5 and not self._answered.done():
                self._fail(ProtocolRefused("the broker closes the connection at MQTT 5"))
            else:
                self._fail(BrokerUnreachable(f"the broker closed the connection: {reason}"))

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left to hear it
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _on_connect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, properties: Properties | None) -> None:
        limit = getattr(properties, "ReceiveMaximum", _UNLIMITED)
        self._tell(self._answer, _refusal(reason, self._broker), limit)

    def _on_subscribe(self, _c: Any, _u: Any, _mid: int, reasons: list[ReasonCode], _p: Any) -> None:
        refused = next((str(reason) for reason in reasons if reason.is_failure), None)
        self._tell(self._accept, refused)

    def _on_disconnect(self, _c: Any, _u: Any, _f: Any, reason: ReasonCode, _p: Any) -> None:
        self._tell(self._end, str(reason))

    def _on_publish(self, _c: Any, _u: Any, mid: int, reason: ReasonCode, _p: Any) -> None:
        if self._listener is not None:
            self._tell(self._listener.on_taken, mid, str(reason) if reason.is_failure else None)

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        found = parse(message.topic)
        if found is not None and self._listener is not None:
            self._tell(partial(self._listener.on_message, found.lane, bytes(message.payload), retained=message.retain))


class _TlsSocket(ssl.SSLSocket):
    """Closes the socket after a failed handshake, which paho forgets: file descriptors would leak during a
    long outage.
    """

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


def _tls(broker: Broker) -> ssl.SSLContext:
    """The TLS context for the broker, which is always verified; there is no option for less.

    If this machine's clock lies outside the validity of the kit's own certificate, it cannot judge the broker's dates:
    they are ignored then, and the broker must still prove the signature of the authority named at enrolment.
    """
    try:
        context = ssl.create_default_context(cafile=broker.tls.ca)
        if broker.tls.cert is not None:
            context.load_cert_chain(broker.tls.cert, broker.tls.key)
            if broker.tls.ca is not None and not within_life(broker.tls.cert, time.time()):
                context.verify_flags |= NO_DATES
        context.sslsocket_class = _TlsSocket
    except (OSError, ValueError) as error:
        raise BrokerUnreachable(f"broker.tls: the certificates cannot be loaded: {error}") from None
    return context


def _unreachable(where: str, error: Exception) -> BrokerUnreachable:
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerUnreachable(
            f"{where}: the broker's certificate is not trusted ({error.verify_message}): "
            "set broker.tls.ca to the authority that signed it, and check the clock"
        )
    return BrokerUnreachable(f"{where} cannot be reached: {error}")


def _refusal(reason: ReasonCode, broker: Broker) -> UplinkError | None:
    if not reason.is_failure:
        return None
    if reason.value == _UNSUPPORTED_VERSION:
        return ProtocolRefused("the broker does not speak this version of MQTT")
    how = "; check broker.username and broker.password_file" if reason.value in (4, 5, 134, 135) else ""
    return BrokerRefused(f"{broker.host} refuses this kit: {reason}{how}")
