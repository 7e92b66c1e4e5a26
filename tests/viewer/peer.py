"""A small real server that speaks to the pages as the relay does, and says just what the test tells it.

It serves the real pages. What it is told comes from the test's thread; all sockets live on its own loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import numpy as np
import uvicorn
from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse
from numpy.typing import NDArray
from starlette.responses import Response

from core.contracts import scg
from relay.viewer.routes import pages
from tests.waiting import until

Floats = NDArray[np.float64]


@dataclass(eq=False)
class Room:
    """A session as the test wants it to be, and everything that came in for it."""

    id: str = field(default_factory=lambda: str(uuid4()))
    started_ms: float = field(default_factory=lambda: time.time() * 1000)
    ended_ms: float | None = None
    kit: str | None = "bedside-01"
    unit: str = "m/s2"
    sensor: dict[str, Any] | None = field(
        default_factory=lambda: {"name": "ADXL355", "kind": "serial", "rateHz": 400.0}
    )
    patient_present: bool = True
    backlog: tuple[Floats, Floats] | None = None
    refuse: tuple[int, str] | None = None
    acknowledge: bool = True
    answer_pings: bool = True
    stored: list[tuple[float, float | None, float | None, float | None]] = field(default_factory=list)
    viewers: list[WebSocket] = field(default_factory=list)
    patients: list[WebSocket] = field(default_factory=list)
    connections: int = 0
    queries: list[dict[str, str]] = field(default_factory=list)
    received: list[dict[str, Any]] = field(default_factory=list)
    held: list[tuple[WebSocket, str, int]] = field(default_factory=list)
    samples: dict[tuple[str, int], list[dict[str, float]]] = field(default_factory=dict)
    times_sent: dict[tuple[str, int], int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        ended = {} if self.ended_ms is None else {"endedAt": scg.iso(self.ended_ms)}
        return {
            "sessionId": self.id,
            "startedAt": scg.iso(self.started_ms),
            **ended,
            "live": self.ended_ms is None and self.patient_present,
            "patientConnected": self.patient_present,
            "viewerCount": len(self.viewers),
            "source": f"kit {self.kit}" if self.kit else "browser",
        }

    def info(self) -> dict[str, Any]:
        return {
            **self.summary(),
            "serverTime": time.time() * 1000,
            "device": {"userAgent": "", "platform": "Linux"},
            "unit": self.unit,
            "sensor": self.sensor,
            "kit": self.kit,
            "clockErrorMs": 2.1,
        }


class Peer:
    """The server, its rooms, and the test's hand on it."""

    def __init__(self) -> None:
        self.rooms: dict[str, Room] = {}
        self.list_status = 200
        self.created: list[Room] = []
        self._app = self._application()
        self._loop: asyncio.AbstractEventLoop | None = None
        config = uvicorn.Config(
            self._app,
            port=0,
            log_level="error",
            lifespan="on",
            ws="websockets-sansio",
            ws_per_message_deflate=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    # -- from the test's thread --

    @contextmanager
    def running(self) -> Iterator[Peer]:
        self._thread.start()
        until(lambda: self._server.started, "the test's server to start")
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            yield self
        finally:
            self._server.should_exit = True
            self._thread.join(15)
            assert not self._thread.is_alive()

    def room(self, **wanted: Any) -> Room:
        room = Room(**wanted)
        self.rooms[room.id] = room
        return room

    def say(self, room: Room, kind: str, **payload: Any) -> None:
        """A message to every viewer, and the patient where the document says so."""
        everyone = kind == "status_update"
        self._call(self._say(room, scg.message(kind, payload), everyone=everyone))

    def samples(self, room: Room, t: Floats, az: Floats) -> None:
        self._call(self._say(room, scg.interpolated_batch(t.astype(np.int64), az), everyone=False))

    def to_patient(self, room: Room, message: dict[str, Any]) -> None:
        self._call(self._to(room.patients, json.dumps(message)))

    def release(self, room: Room) -> None:
        """Acknowledge what was held back, and from now on at once."""
        room.acknowledge = True
        held, room.held = room.held, []
        for socket, boot, seq in held:
            self._call(self._to([socket], scg.ack(boot, [[seq, seq]]).decode()))

    def drop(self, room: Room) -> None:
        """Break every connection of a room without a word."""
        self._call(self._drop(room))

    def play(self, room: Room, signal: Callable[[Floats], Floats], *, batch_ms: int = 100, late_ms: float = 60) -> None:
        """Stream `signal(t in ms)` on the 10 ms grid in real time until the test ends."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self._play(room, signal, batch_ms, late_ms), self._loop)

    # -- on the server's loop --

    def _call(self, work: Any) -> Any:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _say(self, room: Room, text: bytes, *, everyone: bool) -> None:
        await self._to([*room.viewers, *(room.patients if everyone else [])], text.decode())

    async def _to(self, sockets: list[WebSocket], text: str) -> None:
        for socket in list(sockets):
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.send_text(text)

    async def _drop(self, room: Room) -> None:
        for socket in [*room.viewers, *room.patients]:
            with contextlib.suppress(RuntimeError):
                await socket.close(1012)

    async def _play(self, room: Room, signal: Callable[[Floats], Floats], batch_ms: int, late_ms: float) -> None:
        sent = None
        while room.id in self.rooms and room.ended_ms is None:
            newest = (time.time() * 1000 - late_ms) // 10 * 10
            begin = newest - batch_ms if sent is None else sent
            t = np.arange(begin + 10, newest + 10, 10.0)
            if len(t):
                await self._say(room, scg.interpolated_batch(t.astype(np.int64), signal(t)), everyone=False)
                sent = t[-1]
            await asyncio.sleep(batch_ms / 1000)

    def _application(self) -> FastAPI:
        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self._loop = asyncio.get_running_loop()
            yield

        app = FastAPI(lifespan=lifespan)
        app.include_router(pages())
        sessions = "/scg/api/v1/sessions"
        app.add_api_route(sessions, self._listing, methods=["GET"])
        app.add_api_route(sessions, self._create, methods=["POST"])
        app.add_api_route(sessions + "/{session}", self._stored, methods=["GET"])
        app.add_api_route(sessions + "/{session}/end", self._end, methods=["POST"])
        app.add_api_websocket_route("/scg/ws/{session}", self._enter)
        return app

    async def _listing(self) -> Response:
        if self.list_status != 200:
            return JSONResponse({"detail": "Only staff see the list of sessions."}, self.list_status)
        return JSONResponse({"sessions": [room.summary() for room in self.rooms.values()]})

    async def _create(self, request: Request) -> Response:
        room = self.room(kit=None, sensor=None, patient_present=False)
        self.created.append(room)
        base = f"http://{request.url.netloc}"
        answer = {
            "sessionId": room.id,
            "viewerUrl": f"{base}/view/{room.id}",
            "websocketUrl": f"{base.replace('http', 'ws')}/scg/ws/{room.id}",
            "createdAt": scg.iso(room.started_ms),
        }
        return JSONResponse(answer)

    async def _stored(self, session: str) -> Response:
        room = self.rooms.get(session)
        if room is None:
            return JSONResponse({"detail": "Session not found"}, 404)
        head = {"version": "0.2", **room.info(), "samplingRateHz": 100.0, "samples": room.stored}
        return JSONResponse(head)

    async def _end(self, session: str) -> Response:
        room = self.rooms[session]
        room.ended_ms = time.time() * 1000
        count = sum(len(batch) for batch in room.samples.values())
        await self._say(room, scg.status_update("session_ended", len(room.viewers)), everyone=True)
        return JSONResponse({"message": f"Session ended successfully. {count} samples saved."})

    async def _enter(self, socket: WebSocket, session: str) -> None:
        await socket.accept()
        room = self.rooms.get(session)
        if room is None:
            await socket.close(4404, "Session not found")
            return
        room.connections += 1
        room.queries.append(dict(socket.query_params))
        if room.refuse is not None:
            await socket.close(*room.refuse)
            return
        patient = socket.query_params.get("role") == "patient"
        await self._serve(room, socket, patient=patient)

    async def _serve(self, room: Room, socket: WebSocket, *, patient: bool) -> None:
        if not patient:
            await socket.send_text(scg.message("session_info", room.info()).decode())
            if room.backlog is not None:
                t, az = room.backlog
                await socket.send_text(scg.interpolated_batch(t.astype(np.int64), az).decode())
        (room.patients if patient else room.viewers).append(socket)
        status = "patient_connected" if patient else "viewer_connected"
        await self._say(room, scg.status_update(status, len(room.viewers)), everyone=True)
        try:
            while True:
                await self._take(room, socket, json.loads(await socket.receive_text()))
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            (room.patients if patient else room.viewers).remove(socket)

    async def _take(self, room: Room, socket: WebSocket, message: dict[str, Any]) -> None:
        if message["type"] == "ping":
            if room.answer_pings:
                pong = {"sent": message["payload"]["sent"], "serverTime": time.time() * 1000}
                await socket.send_text(scg.message("pong", pong).decode())
            return
        room.received.append(message)
        if message["type"] != "samples_batch":
            return
        key = (message["boot"], message["seq"])
        room.times_sent[key] = room.times_sent.get(key, 0) + 1
        room.samples.setdefault(key, message["payload"]["samples"])
        if room.acknowledge:
            await socket.send_text(scg.ack(key[0], [[key[1], key[1]]]).decode())
        else:
            room.held.append((socket, *key))
