"""Log lines about failures that repeat."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from service.http.wire.failures import FailureLog


def test_a_failure_is_logged_once_a_second_with_its_number(caplog: pytest.LogCaptureFixture) -> None:
    times = [0.0]
    log = FailureLog(lambda: times[-1])
    full = {
        "message": "socket.accept() out of system resource",
        "exception": OSError(errno.EMFILE, "Too many open files"),
    }
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        for moment in (0.0, 0.1, 0.9):
            times.append(moment)
            for _ in range(1000):
                log(loop, dict(full))
        log(loop, {"message": "something else", "exception": ValueError("once")})
        times.append(1.0)
        log(loop, dict(full))
    first, other, second = caplog.records
    assert first.getMessage().endswith("Too many open files")
    assert second.getMessage().endswith("(2999 times more since the last line)")
    assert first.exc_info is None  # the system's fault needs no traceback
    assert other.exc_info is not None
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
