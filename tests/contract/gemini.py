"""The language model's HTTP face, for real clients on loopback: answers, refuses, stalls or lies as it is told."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FakeGemini:
    """`behave` is what the next requests get; `asked` holds every request's path, key and body."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.behave: Any = {"translation": "Hello!", "confidence": 0.97, "alternatives": ["Hello there"]}
        self.status = 200
        self.stall_s = 0.0
        self.failures = 0
        face = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                face.asked.append({"path": self.path, "key": self.headers.get("x-goog-api-key"), "body": body})
                time.sleep(face.stall_s)
                status = face.status
                if face.failures:
                    face.failures -= 1
                    status = 503
                answer = face.answer(status)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, status: int) -> bytes:
        if status != 200:
            error = {"code": status, "message": f"told to answer {status}", "status": "UNAVAILABLE"}
            return json.dumps({"error": error}).encode()
        text = self.behave if isinstance(self.behave, str) else json.dumps(self.behave)
        candidate = {"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP", "index": 0}
        return json.dumps({"candidates": [candidate], "modelVersion": "fake"}).encode()

    def reset(self) -> None:
        self.asked.clear()
        self.behave = {"translation": "Hello!", "confidence": 0.97, "alternatives": ["Hello there"]}
        self.status, self.stall_s, self.failures = 200, 0.0, 0

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)
