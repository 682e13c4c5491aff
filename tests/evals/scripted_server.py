"""A server of chat completions whose answers a test makes up, and which says so.

Every answer has the `system_fingerprint` "scripted", by which the runner knows that it is evidence
of nothing. `running(reply)` starts one: `reply(body, n)` gets the body of a request and how often
that body has come, and returns a `Reply`.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """How a request is answered.

    delay_s: before all of it; stall_s: after its first word. cut: the stream ends after so many
    words; error_event: it ends in an error.
    """

    text: str = ""
    status: int = 200
    error: str = "made up"
    headers: dict[str, str] = field(default_factory=dict)
    reasoning: str = ""
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    delay_s: float = 0.0
    stall_s: float = 0.0
    error_event: bool = False
    usage: bool = True
    stream: bool = True
    cut: int | None = None
    finish_reason: str = "stop"
    fingerprint: str | None = "scripted"
    served_model: str | None = None


@dataclass
class Server:
    """A running server: its address, what has come in order, and how often each body came."""

    base_url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    calls: Counter = field(default_factory=Counter)
    most_at_once: int = 0


@contextmanager
def running(reply: Callable[[dict[str, Any], int], Reply]):
    lock, at_once = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with lock:
                seen.bodies.append(body)
                seen.headers.append({k.lower(): v for k, v in self.headers.items()})
                same = json.dumps(body, sort_keys=True)
                seen.calls[same] += 1
                n = seen.calls[same]
                at_once[0] += 1
                seen.most_at_once = max(seen.most_at_once, at_once[0])
            how = reply(body, n)
            time.sleep(how.delay_s)
            with lock:
                at_once[0] -= 1
            try:
                self.answer(body, how)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def answer(self, body, how):
            if how.status != 200:
                self.document({"error": {"message": how.error}}, how.status, how.headers)
                return
            words = how.text.split(" ")
            output = len(how.text.split()) + how.reasoning_tokens
            prompt = sum(len(str(m["content"]).split()) for m in body["messages"]) + 3
            usage = {
                "prompt_tokens": prompt,
                "completion_tokens": output,
                "total_tokens": prompt + output,
                "prompt_tokens_details": {"cached_tokens": how.cached_tokens},
                "completion_tokens_details": {"reasoning_tokens": how.reasoning_tokens},
            }
            envelope = {
                "id": "x",
                "created": 1,
                "model": how.served_model or body["model"],
                "system_fingerprint": how.fingerprint,
            }
            if not (how.stream and body.get("stream")):
                message = {"role": "assistant", "content": how.text}
                choice = {"index": 0, "message": message, "finish_reason": how.finish_reason}
                whole = {**envelope, "object": "chat.completion", "choices": [choice]}
                self.document(whole | ({"usage": usage} if how.usage else {}), 200, {})
                return
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            envelope["object"] = "chat.completion.chunk"
            deltas = [{"role": "assistant", "content": ""}]
            deltas += [{"reasoning_content": how.reasoning}] if how.reasoning else []
            deltas += [{"content": (" " if i else "") + word} for i, word in enumerate(words)]
            for i, delta in enumerate(deltas):
                if how.cut is not None and i > how.cut:
                    self.close_connection = True
                    return
                self.event({**envelope, "choices": [{"index": 0, "delta": delta}]})
                time.sleep(how.stall_s if i == 1 else 0)
            if how.error_event:
                self.event({"error": {"message": how.error, "code": 500}})
                self.chunk(b"")
                return
            end = {"index": 0, "delta": {}, "finish_reason": how.finish_reason}
            self.event({**envelope, "choices": [end]})
            if how.usage and (body.get("stream_options") or {}).get("include_usage"):
                self.event({**envelope, "choices": [], "usage": usage})
            self.chunk(b"data: [DONE]\n\n")
            self.chunk(b"")

        def document(self, value, status, headers):
            text = json.dumps(value).encode()
            self.send_response(status)
            for name, header in headers.items():
                self.send_header(name, header)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def event(self, value):
            self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

        def chunk(self, data):
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            self.wfile.flush()

        def log_message(self, *_):
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

    with Quiet(("127.0.0.1", 0), Handler) as server:
        seen = Server(f"http://127.0.0.1:{server.server_port}/v1")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
