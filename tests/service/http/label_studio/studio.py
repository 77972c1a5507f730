"""A host that hands out files and checks tokens as Label Studio does, and what is sent to its ML backend."""

from __future__ import annotations

import base64
import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LEGACY = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """
<View>
  <Image name="photo" value="$picture"/>
  <BrushLabels name="mask" toName="photo"><Label value="Disc"/><Label value=" RING "/></BrushLabels>
  <RectangleLabels name="box" toName="photo" smart="true"><Label value="disc"/><Label value="Other"/></RectangleLabels>
</View>
"""


def personal(name: str) -> str:
    """Return a personal access token, which has the form of a JSON Web Token."""
    parts = ({"alg": "HS256"}, {"token_type": "refresh", "jti": name})
    coded = [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts]
    return ".".join((*coded, "c2lnbmF0dXJl"))


@dataclass
class Studio:
    """What the host has, accepts, and was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)  # addresses of files that are elsewhere
    tokens: set[str] = field(default_factory=lambda: {f"Token {LEGACY}"})
    personal: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Authorization
    exchanged: int = 0
    compressed: bool = False
    url: str = ""

    def expire(self) -> None:
        """End the time of all tokens that were got with personal ones."""
        self.tokens = {each for each in self.tokens if not each.startswith("Bearer")}


@contextmanager
def hosting() -> Iterator[Studio]:
    """Yield a host that serves."""
    studio = Studio()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            studio.asked.append((self.path, given))
            if given not in studio.tokens:
                self.answer(401, b'{"detail": "Invalid token."}')
            elif self.path in studio.moved:
                self.answer(302, b"", Location=studio.moved[self.path])
            elif self.path in studio.files:
                extra = {"Content-Encoding": "gzip"} if studio.compressed else {}
                self.answer(200, studio.files[self.path], **extra)
            else:
                self.answer(404, b"")

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/api/token/refresh" or sent["refresh"] not in studio.personal:
                self.answer(401, b'{"detail": "Token is expired", "code": "token_not_valid"}')
                return
            studio.exchanged += 1
            studio.tokens.add(f"Bearer access-{studio.exchanged}")
            content = json.dumps({"access": f"access-{studio.exchanged}"}).encode()
            if "gzip" in self.headers.get("Accept-Encoding", ""):  # as nginx does before it
                self.answer(200, gzip.compress(content), Content_Encoding="gzip")
            else:
                self.answer(200, content)

        def answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        studio.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield studio
        finally:
            server.shutdown()
            thread.join()


def body(*addresses: str, config: str = CONFIG, drawn: list[Any] | None = None) -> dict[str, Any]:
    """Return what Label Studio sends to /predict."""
    return {
        "tasks": [
            {"id": n, "data": {"picture": each}, "annotations": []} for n, each in enumerate(addresses)
        ],
        "project": "1.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": drawn and {"result": drawn}},
    }


def rectangle(
    x: float, y: float, width: float, height: float, label: str = "", rotation: float = 0
) -> dict[str, Any]:
    """Return a rectangle as it comes when it has been drawn in a picture of 120 × 80 pixels."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return {
        "id": "drawn",
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "photo",
        "original_width": 120,
        "original_height": 80,
        "value": value | ({"rectanglelabels": [label]} if label else {}),
    }
