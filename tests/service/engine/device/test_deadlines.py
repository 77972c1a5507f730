"""Deadlines, also while another pass has the device, of this model or of another. They come when the tests say so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.engine.device.scheduler import Scheduler
from service.engine.errors import DeadlinePassed
from service.engine.request import Request
from tests.service.engine.fakes import (
    FOREVER,
    FakeModel,
    asked,
    deadlines_by_hand,
    levels,
    other_tasks_run,
    play,
    queued,
    submitted,
    until,
)
from tests.service.support import PATIENCE


@dataclass(eq=False)
class SecondGate(FakeModel):
    """A model whose second pass has a gate of its own."""

    second_gate: threading.Event = field(default_factory=threading.Event)

    def begin(self, requests: Sequence[Request]) -> list[Any]:
        found = super().begin(requests)
        assert len(self.passes) == 1 or self.second_gate.wait(PATIENCE)
        return found


@dataclass(eq=False)
class StepByStep(FakeModel):
    """A model each of whose steps waits until the test has allowed it."""

    allowed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def advance(self, renders: Sequence[Any]) -> None:
        super().advance(renders)
        assert self.allowed.acquire(timeout=PATIENCE)


@asynccontextmanager
async def another(scheduler: Scheduler, model: FakeModel) -> AsyncIterator[None]:
    """A request of another model, which waits for its turn or has it."""
    (waiting,) = submitted(scheduler, asked("other", model="other"))
    await until(lambda: scheduler.depth("other")["queue"] or model.passes)
    try:
        yield
        assert not waiting.done()
        model.pass_gate.set()
        await waiting
    finally:
        model.pass_gate.set()
        await asyncio.gather(waiting, return_exceptions=True)


def shut() -> FakeModel:
    """A model whose passes wait for their gate, but whose steps do not."""
    model = FakeModel()
    model.step_gate.set()
    return model


def test_at_the_deadline_the_next_step_is_the_last() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        mine = asked("mine", levels=60, renders=3, deadline=FOREVER)
        (task,) = submitted(scheduler, mine)
        for step in range(1, 5):
            await until(lambda n=step: len(model.steps) == n)
            if step < 4:
                model.allowed.release()
        mine.deadline_seconds = 0.0  # now, as far as the scheduler sees between two steps
        model.allowed.release()
        await task
        assert levels(mine) == [7 * 2**3] * 3

    play(scenario, model := StepByStep())


def test_a_deadline_that_comes_during_the_pass_gives_the_coarsest_mask() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        with deadlines_by_hand() as deadlines:
            (task,) = submitted(scheduler, mine := asked("mine", levels=9, deadline=FOREVER))
            await until(lambda: model.passes)
            deadlines.come(mine)
            assert not task.done()
            model.pass_gate.set()
            await task
            assert levels(mine) == [7]

    play(scenario, model := FakeModel(), closed=["pass"])


def test_a_deadline_that_comes_before_the_pass_gives_nothing_and_costs_nothing() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        first = submitted(scheduler, asked("first"))
        await until(lambda: model.passes)
        with pytest.raises(DeadlinePassed):
            await scheduler.submit(asked("second", deadline=0.01))
        with pytest.raises(DeadlinePassed):
            await scheduler.submit(asked("third", deadline=-1))
        model.pass_gate.set()
        await asyncio.gather(*first)

    play(scenario, model := FakeModel(), closed=["pass"])
    assert model.passes == ["f"]


def test_a_finished_level_is_answered_before_a_pass_that_would_end_too_late() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        # Its cost lets others pass it.
        mine = asked("mine", levels=12, cost=FOREVER, deadline=FOREVER)
        (task,) = submitted(scheduler, mine)
        await until(lambda: model.steps)
        (other,) = submitted(scheduler, asked("other", coarse_cost=2 * FOREVER))
        await queued(scheduler, 1)
        model.step_gate.set()
        await task
        assert levels(mine) == [7]
        assert not other.done()
        model.second_gate.set()
        await other

    play(scenario, model := SecondGate(), closed=["step"])
    assert model.passes == ["m", "o"]


def test_the_finest_finished_level_is_answered_at_the_deadline_while_another_has_the_device() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        with deadlines_by_hand() as deadlines:
            (task,) = submitted(scheduler, mine := asked("mine", levels=99, cost=FOREVER, deadline=FOREVER))
            await until(lambda: model.steps)
            async with another(scheduler, other):
                while not other.passes:
                    model.allowed.release()
                    await asyncio.sleep(0.001)
                finished = len(model.steps)
                deadlines.come(mine)
                await task
                assert levels(mine) == [7 * 2 ** (finished - 1)]

    play(scenario, model := StepByStep(), others={"other": (other := shut())})


def test_a_request_that_waits_for_a_pass_ends_at_the_deadline() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        async with another(scheduler, other):
            await until(lambda: other.passes)
            with pytest.raises(DeadlinePassed):
                await scheduler.submit(asked("mine", deadline=0.01))

    play(scenario, model := FakeModel(), others={"other": (other := shut())})
    assert not model.passes


def test_without_any_level_the_coarsest_mask_comes_as_soon_as_the_device_is_free() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        with deadlines_by_hand() as deadlines:
            (task,) = submitted(scheduler, mine := asked("mine", levels=9, cost=FOREVER, deadline=FOREVER))
            await until(lambda: model.passes)
            async with another(scheduler, other):
                model.pass_gate.set()
                await until(lambda: other.passes)  # between the pass and the first step
                deadlines.come(mine)
                assert not task.done()
            await task
            assert levels(mine) == [7]

    play(scenario, model := FakeModel(), others={"other": (other := shut())}, closed=["pass"])


def test_a_deadline_during_the_pass_gives_the_coarsest_mask_before_another_model_has_its_turn() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        with deadlines_by_hand() as deadlines:
            (task,) = submitted(scheduler, mine := asked("mine", levels=9, deadline=FOREVER))
            await until(lambda: model.passes)
            async with another(scheduler, other):
                deadlines.come(mine)
                model.pass_gate.set()
                await task
                assert levels(mine) == [7]
                await until(lambda: other.passes)

    play(scenario, model := FakeModel(), others={"other": (other := shut())}, closed=["pass"])


def test_the_coarsest_mask_comes_before_a_pass_that_would_end_too_late() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        mine = asked("mine", levels=9, cost=FOREVER, deadline=FOREVER)
        (task,) = submitted(scheduler, mine)
        await until(lambda: model.passes)
        (long,) = submitted(scheduler, asked("long", coarse_cost=2 * FOREVER))
        await queued(scheduler, 1)
        model.pass_gate.set()
        await task
        assert levels(mine) == [7]
        assert not long.done()
        model.second_gate.set()
        await long

    play(scenario, model := SecondGate(), closed=["pass"])
    assert model.passes == ["m", "l"]


def test_who_leaves_while_an_urgent_request_has_the_device_holds_no_memory() -> None:
    """The pass of the one who left was chosen before, and must not take memory that nobody gives back."""

    async def scenario(scheduler: Scheduler) -> None:
        (task,) = submitted(scheduler, asked("mine", levels=9, cost=FOREVER, deadline=FOREVER))
        await until(lambda: model.passes)
        leaver = asked("leaver", coarse_cost=2 * FOREVER, maps=40)
        (gone,) = submitted(scheduler, leaver)
        await queued(scheduler, 1)
        model.pass_gate.set()
        await until(lambda: model.steps)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        scheduler.release(leaver)
        model.step_gate.set()
        await task
        await other_tasks_run()
        assert leaver.held_bytes == 0

    play(scenario, model := FakeModel(), closed=["pass", "step"])
