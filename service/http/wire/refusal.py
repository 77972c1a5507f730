"""Answers that are given before there is a request that the app could answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from service.http.headers import REQUEST_ID, SAFE_HEADERS, new_request_id
from service.http.problems import MEDIA_TYPE, Problem
from service.http.wire.failures import FailureLog
from service.observe import access_log
from service.observe.request_metrics import RequestMetrics


@dataclass(frozen=True)
class Refusals:
    """Counts and logs what is refused by the protocol, and writes its answers."""

    metrics: RequestMetrics
    log: FailureLog
    root_path: str  # of the addresses of problems

    def connection_refused(self) -> None:
        """Count a connection that finds no place, and log at most one such a second."""
        self.metrics.rejected("connections-full")
        self.log.write("connections-full", "a connection was refused: there are too many")

    def answer(self, problem: Problem, request_id: str) -> bytes:
        """Return the whole answer that says what is wrong, after which the connection is closed."""
        body = json.dumps(problem.content(request_id, self.root_path)).encode()
        headers = (
            *problem.headers.items(),
            *SAFE_HEADERS,
            (REQUEST_ID, request_id),
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("connection", "close"),
        )
        lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body

    def request_refused(self, client: tuple[str, int] | None, problem: Problem) -> str:
        """Count and log a request that could not be read. Return the id that it was given."""
        request_id = new_request_id()
        self.metrics.begun()
        self.metrics.rejected(problem.kind)
        self.metrics.ended("other", str(problem.status), 0.0)
        state = {"request_id": request_id, "problem": problem.kind}
        scope = {"client": client, "method": "", "path": "", "state": state}
        access_log.write(scope, problem.status, 0.0)
        return request_id
