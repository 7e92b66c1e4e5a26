"""Traces of a sample's way, as a collector gets them: one trace a message, whichever part of the relay adds to it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.contract.sockets import Socket
from tests.programs import RelayProgram


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Takes spans by OTLP over HTTP, as any collector does."""
    spans: list[Any] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            found = ExportTraceServiceRequest.FromString(body)
            spans.extend(span for one in found.resource_spans for scope in one.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.mark.parametrize(("every", "traced"), [(1, 6), (1_000_000_000, 0)])
async def test_the_way_of_a_sample_is_one_trace(tmp_path: Path, every: int, traced: int) -> None:
    with collector() as (endpoint, spans):
        env = {
            "HOMESIDE_RELAY_TRACING__ENDPOINT": endpoint,
            "HOMESIDE_RELAY_TRACING__EVERY": str(every),
        }
        relay = RelayProgram(tmp_path, env=env)
        created = httpx.post(f"{relay.http}/api/v1/sessions").json()
        async with Socket(created["websocketUrl"] + "?role=patient") as patient:
            for seq in range(1, 7):
                await patient.batch([{"t": 1e12 + seq, "ax": 0, "ay": 0, "az": 1}], boot="b", seq=seq)
            await patient.until(lambda got: sum(m["type"] == "ack" for m in got) == 6)
        assert relay.stop() == 0
    ways: dict[bytes, set[str]] = {}
    for span in spans:
        ways.setdefault(span.trace_id, set()).add(span.name)
        assert span.start_time_unix_nano <= span.end_time_unix_nano
    assert len(ways) == traced
    assert all(names == {"received", "stored", "shown"} for names in ways.values())
    assert created["sessionId"] not in json.dumps([str(span) for span in spans])
