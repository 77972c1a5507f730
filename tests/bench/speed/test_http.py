"""A commit's service beside the present one: what is checked out, and the row."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench.speed import http
from model.errors import UserError


def test_an_unknown_commit_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="git archive no-such-commit"):
        http.checked_out("no-such-commit", tmp_path)
    assert not list(tmp_path.iterdir())


def test_both_services_are_sent_the_picture_in_turns(tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(b"a picture")
    calls: list[tuple[int, str, bytes]] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["content-length"])
            calls.append((self.server.server_address[1], self.path, self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Service) for _ in range(2)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    ports = [server.server_address[1] for server in servers]
    try:
        row = http.compared(*(f"http://127.0.0.1:{port}" for port in ports), picture, "abc1234", repeats=2)
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
    assert calls == [(port, "/segment", b"a picture") for port in ports * 3]  # the first turn warms up
    assert (row.what, row.against) == ("picture.jpg → RLE over HTTP", "commit abc1234")
    assert row.ours > 0 and row.theirs > 0
