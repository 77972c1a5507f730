"""Memory is given back once in a quiet period, and never while a request is inside. No test sleeps."""

from __future__ import annotations

import asyncio
import ctypes
import logging
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.engine import memory
from service.engine.memory import QuietMemory, trim_heap


@dataclass
class Record:
    """What was called, under a clock that a test sets."""

    now: float = 100.0
    calls: list[str] = field(default_factory=list)
    failure: Exception | None = None

    async def release(self) -> None:
        self.calls.append("release")
        if self.failure is not None:
            raise self.failure

    def trim(self) -> None:
        self.calls.append("trim")

    def quiet_memory(self) -> QuietMemory:
        return QuietMemory(self.release, self.trim, 30, lambda: self.now)

    def after(self, seconds: float, quiet: QuietMemory) -> bool:
        self.now += seconds
        return asyncio.run(quiet.check())


def test_it_is_given_back_once_in_each_quiet_period() -> None:
    record = Record()
    quiet = record.quiet_memory()
    assert not record.after(29.9, quiet) and record.calls == []
    assert record.after(0.1, quiet) and record.calls == ["release", "trim"]
    assert not record.after(1000, quiet)
    with quiet.request():
        pass
    assert not record.after(29, quiet)
    assert record.after(1, quiet) and record.calls == ["release", "trim"] * 2


def test_a_period_begins_when_the_last_request_ends() -> None:
    record = Record()
    quiet = record.quiet_memory()
    with quiet.request():
        assert not record.after(100, quiet)
        with pytest.raises(ValueError), quiet.request():
            raise ValueError
        assert not record.after(100, quiet)
    assert not record.after(29, quiet)
    assert record.after(1, quiet)


def test_a_release_that_fails_is_logged_and_the_heap_is_trimmed(caplog: pytest.LogCaptureFixture) -> None:
    record = Record(failure=RuntimeError("the device is gone"))
    quiet = record.quiet_memory()
    with caplog.at_level(logging.ERROR):
        assert record.after(30, quiet)
    assert record.calls == ["release", "trim"] and "could not be released" in caplog.text
    assert not record.after(30, quiet)  # not again and again


def test_watching_checks_until_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "CHECK_SECONDS", 0)
    record = Record()
    quiet = record.quiet_memory()
    record.now += 30

    async def watch() -> None:
        watching = asyncio.create_task(quiet.watch())
        while record.calls != ["release", "trim"]:
            await asyncio.sleep(0)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    asyncio.run(asyncio.wait_for(watch(), 20))


def test_the_heap_is_trimmed_where_the_c_library_can(monkeypatch: pytest.MonkeyPatch) -> None:
    trim_heap()
    asked: list[Any] = []

    class Library:
        def malloc_trim(self, pad: int) -> int:
            asked.append(pad)
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    trim_heap()
    assert asked == [0]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())  # musl has no such function
    trim_heap()
