"""A small server of the OpenAI chat protocol, run as a process of its own. Prints its port, then answers.

It echoes the prompt and the size of the picture. Words in a prompt make it misbehave: ``busy`` (429 at first), ``down``
(always 503), ``refused`` (400), ``garbled`` (no JSON), ``moved`` (redirect),
``broken`` (ends early at first).
"""

from __future__ import annotations

import base64
import io
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

SEEN: set[str] = set()
KEY = "Bearer secret"


class Chat(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        (message,) = body["messages"]
        prompt = "".join(part["text"] for part in message["content"] if part["type"] == "text")
        first = prompt not in SEEN
        SEEN.add(prompt)
        if self.headers.get("Authorization") not in (None, KEY):
            self.reply(401, b"wrong key")
        elif "refused" in prompt:
            self.reply(400, b"no such parameter")
        elif "down" in prompt or ("busy" in prompt and first):
            self.reply(503 if "down" in prompt else 429, b"try again", **{"Retry-After": "0"})
        elif "garbled" in prompt:
            self.reply(200, b"<html>")
        elif "broken" in prompt and first:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.close_connection = True
        elif "moved" in prompt:
            self.reply(302, b"", Location="/elsewhere")
        else:
            self.reply(200, json.dumps(self.answer(body, prompt, message)).encode())

    def answer(self, body: dict[str, Any], prompt: str, message: dict[str, Any]) -> dict[str, Any]:
        urls = [part["image_url"]["url"] for part in message["content"] if "image_url" in part]
        sizes = [Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).size for url in urls]
        said = f"{body['model']} t={body['temperature']} n={body['max_tokens']} {sizes} {prompt}"
        if "seed" in body:
            said += f" p={body['top_p']} seed={body['seed']}"
        if self.headers.get("Authorization"):
            said += " signed"
        return {
            "choices": [{"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": len(prompt), "completion_tokens": 3},
        }

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Chat)
    print(server.server_address[1], flush=True)
    server.serve_forever()
