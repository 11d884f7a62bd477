"""A stand-in for the model vendors behind a LiteLLM proxy: it answers as OpenAI's and Anthropic's APIs do, in one piece or as a stream that can be held."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 1500, "completion_tokens": 200, "total_tokens": 1700}


class Vendor(ThreadingHTTPServer):
    """`asked` are the models called; a model with `fail` in its name is answered 429, and streams wait at half while `goes_on` is not set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.asked: list[str] = []
        self.goes_on = threading.Event()
        self.goes_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Vendor

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(wanted["model"])
        if "fail" in wanted["model"]:
            return self._send({"error": {"message": "Slow down.", "type": "rate_limit_error", "code": "rate_limit"}}, status=429)
        if wanted.get("stream"):
            with suppress(OSError):  # the caller has gone
                self._stream(wanted["model"])
            return None
        if self.path.startswith("/v1/messages"):
            usage = {"input_tokens": 120, "output_tokens": 57}
            return self._send({
                "id": "msg_1", "type": "message", "role": "assistant", "model": wanted["model"], "content": [{"type": "text", "text": "hello"}],
                "stop_reason": "end_turn", "stop_sequence": None, "usage": usage,
            })  # fmt: skip
        message = {"role": "assistant", "content": "hello"}
        return self._send({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": wanted["model"], "usage": USAGE,
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        })  # fmt: skip

    def _send(self, answer: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, model: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        chunk = {"id": "chatcmpl-2", "object": "chat.completion.chunk", "created": 1, "model": model}
        self._tell(chunk | {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hel"}, "finish_reason": None}]})
        self.server.goes_on.wait(60)
        self._tell(chunk | {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]})
        self._tell(chunk | {"choices": [], "usage": USAGE})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _tell(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def vendor_running() -> Iterator[Vendor]:
    with Vendor() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.goes_on.set()
            server.shutdown()
