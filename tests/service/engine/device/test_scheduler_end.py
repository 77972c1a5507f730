"""How the scheduler itself fails or ends, and what becomes of the requests inside."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.engine.device.scheduler import Scheduler
from service.engine.errors import Stopped
from tests.service.engine.fakes import FakeModel, asked, other_tasks_run, play, queued, submitted, until


def test_a_loop_that_fails_starts_once_more_and_then_is_dead(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake in the scheduler itself")

    monkeypatch.setattr("service.engine.device.model_worker.choose_step", broken)

    async def scenario(scheduler: Scheduler) -> None:
        with pytest.raises(Stopped):
            await scheduler.submit(asked("a"))
        await other_tasks_run()
        assert scheduler.alive
        with pytest.raises(Stopped):
            await scheduler.submit(asked("a"))
        await until(lambda: not scheduler.alive)
        with pytest.raises(Stopped):
            await scheduler.submit(asked("a"))

    play(scenario, FakeModel())
    assert caplog.text.count("the scheduler failed") == 2


def test_requests_inside_fail_when_the_scheduler_ends() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        passing = submitted(scheduler, asked("a"))
        await until(lambda: model.passes)
        waiting = submitted(scheduler, asked("b"))
        await queued(scheduler, 1)
        next(task for task in asyncio.all_tasks() if task.get_name() == "serving").cancel()
        for task in (*passing, *waiting):
            with pytest.raises(Stopped):
                await task
        assert not scheduler.alive

    play(scenario, model := FakeModel(), closed=["pass"])
