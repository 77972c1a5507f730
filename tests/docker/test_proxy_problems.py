"""What the proxy itself answers has the form of the service's own problems, and is explained by it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.http.problem_kinds import KINDS
from service.http.problems import MEDIA_TYPE, Problem
from service.http.schemas.problems import ProblemDetails
from tests.docker.proxy_files import CONFIG as FILE
from tests.docker.proxy_files import Names, configured
from tests.docker.tools import DOCKER, free_port, process, succeeds, tool
from tests.service.support import beginning, wait_for

CONFIG = FILE.read_text()
LINE = re.compile(
    r"^  http-error status (\d+) content-type (\S+) lf-string '(.*)'( hdr retry-after \d+)?$", re.M
)
ID = "%[var(txn.id),json(utf8s)]"
ROOT_PATH = "%[var(txn.root),json(utf8s)]"
SENT = {400, 404, 408, 413, 500, 502, 503, 504}  # that it may send of its own accord, or by its own rules
LATER = {408, 502, 503, 504}  # after which the same request may succeed


def check(problem: dict[str, Any], status: int) -> None:
    ProblemDetails.model_validate(problem)
    kind = problem["type"].removeprefix("/problems/")
    assert problem == Problem(kind, problem["detail"]).content(problem["request_id"])
    assert KINDS[kind].status == status


def test_every_error_of_the_proxy_is_a_problem() -> None:
    found = {int(status): (media_type, text) for status, media_type, text, _ in LINE.findall(CONFIG)}
    assert set(found) == SENT and len(found) == CONFIG.count("http-error status")
    for status, (media_type, text) in found.items():
        assert media_type == MEDIA_TYPE
        assert text.count(ID) == text.count(ROOT_PATH) == 1
        check(json.loads(text.replace(ID, "an id").replace(ROOT_PATH, "")), status)


def test_where_another_attempt_helps_it_says_when() -> None:
    assert {int(status) for status, *_, later in LINE.findall(CONFIG) if later} == LATER


@pytest.mark.parametrize("status", [400, 408])
def test_what_is_no_request_is_told_so_in_the_same_form(status: int) -> None:
    assert f"  errorfile {status} proxy_errors/{status}.http\n" in CONFIG
    head, _, body = (DOCKER / f"proxy_errors/{status}.http").read_bytes().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0].startswith(f"HTTP/1.1 {status} ")
    expected = {f"Content-Type: {MEDIA_TYPE}", f"Content-Length: {len(body)}", "Connection: close"}
    assert set(lines[1:]) == expected | ({"Retry-After: 1"} if status in LATER else set())
    check(json.loads(body), status)


class Silent(BaseHTTPRequestHandler):
    """A replica that is ready, and answers nothing else."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        with suppress(ConnectionError):
            self.rfile.read()  # until the proxy gives up

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def impatient_proxy(tmp_path: Path) -> Iterator[str]:
    """The address of a proxy that waits for nothing longer than a second, before a replica that is silent."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as replica, ExitStack() as stack:
        replica.daemon_threads = True
        threading.Thread(target=replica.serve_forever, daemon=True).start()
        stack.callback(replica.shutdown)
        names, public, operation = Names(["127.0.0.1"]), free_port(), free_port()
        stack.callback(names.socket.close)
        config = configured(tmp_path, public, operation, names.port, replica.server_port)
        text, changed = re.subn(r"(timeout server|wait-for-body time) \d+s", r"\1 1s", config.read_text())
        assert changed == 2
        config.write_text(text)
        command = [tool("haproxy", "Debian's haproxy"), "-db", "-f", str(config)]
        stack.enter_context(process(command, tmp_path / "proxy.log"))
        url = f"http://127.0.0.1:{public}"
        wait_for(lambda: succeeds(f"{url}/models"))
        yield url


def test_a_replica_that_takes_too_long_is_a_504_that_says_when_to_come_back(impatient_proxy: str) -> None:
    answer = httpx.post(f"{impatient_proxy}/segment", content=b"body", timeout=60)
    check(answer.json(), 504)
    assert answer.headers["retry-after"] == "20"


def test_a_body_that_takes_too_long_is_a_408_that_says_when_to_come_back(impatient_proxy: str) -> None:
    with beginning(impatient_proxy, 1000) as connection, HTTPResponse(connection) as answer:
        answer.begin()
        assert answer.status == 408
        check(json.loads(answer.read()), 408)
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("setting", [None, "/vision", "/vision/"])
def test_below_a_path_the_proxy_s_problems_are_too(
    setting: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("POINTREND_ROOT_PATH", raising=False)
    if setting is not None:
        monkeypatch.setenv("POINTREND_ROOT_PATH", setting)
    root = (setting or "").rstrip("/")
    public, operation = free_port(), free_port()
    config = configured(tmp_path, public, operation)
    command = [tool("haproxy", "Debian's haproxy"), "-db", "-f", str(config)]
    with process(command, tmp_path / "proxy.log"), httpx.Client(timeout=60) as client:
        wait_for(lambda: succeeds(f"http://127.0.0.1:{operation}/healthz"))
        for path, status, kind in (
            (f"{root}/models", 503, "no-replica"),
            ("/metrics", 404, "not-found"),
            (f"{root}/metrics", 404, "not-found"),
            (f"{root}/metrics/", 404, "not-found"),
        ):
            answer = client.get(f"http://127.0.0.1:{public}{path}")
            assert (answer.status_code, answer.json()["type"]) == (status, f"{root}/problems/{kind}"), path
