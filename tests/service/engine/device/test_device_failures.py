"""The device fails under the scheduler: it has no more memory, or its thread ends."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from service.engine.device.scheduler import Scheduler
from service.engine.errors import Stopped
from service.engine.request import Request
from tests.service.engine.fakes import FakeModel, Plan, asked, done, play, submitted, until
from tests.service.support import kill_device


def test_a_full_device_gets_half_a_batch() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        await asyncio.gather(*submitted(scheduler, *map(asked, "abcd")))

    play(scenario, model := FakeModel(most=1))
    assert model.passes == ["abcd", "ab", "a", "b", "cd", "c", "d"]
    assert model.released == 3


def test_a_single_request_is_tried_again_once_memory_is_released() -> None:
    class Fragmented(FakeModel):
        def begin(self, requests: Sequence[Request]) -> list[Any]:
            name = requests[0].id
            self.most = self.released if name == "large" else 0 if name == "huge" else 9
            return super().begin(requests)

    async def scenario(scheduler: Scheduler) -> None:
        await scheduler.submit(asked("large"))
        with pytest.raises(RuntimeError, match="out of memory"):
            await scheduler.submit(asked("huge"))
        await scheduler.submit(asked("a"))

    play(scenario, model := Fragmented())
    assert model.passes == ["l", "l", "h", "h", "a"]
    assert model.released == 3


def test_memory_is_released_after_the_failed_pass_let_go_of_it() -> None:
    held: list[weakref.ref[Plan]] = []

    class Full(FakeModel):
        def begin(self, requests: Sequence[Request]) -> list[Any]:
            if len(requests) > 1:
                tensor = Plan()  # what a pass allocates
                held.append(weakref.ref(tensor))
                raise RuntimeError("CUDA out of memory")
            return super().begin(requests)

        def release(self) -> None:
            super().release()
            assert held[-1]() is None

    async def scenario(scheduler: Scheduler) -> None:
        await asyncio.gather(*submitted(scheduler, *map(asked, "ab")))

    play(scenario, model := Full())
    assert model.released == 1


def test_no_request_fails_because_of_a_dead_thread_but_the_second_time() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        await scheduler.submit(asked("first"))
        kill_device()
        requests = [asked("a"), asked("b")]
        await asyncio.gather(*submitted(scheduler, *requests))
        assert done(*requests)
        kill_device()
        for name in "cd":
            with pytest.raises(Stopped):
                await scheduler.submit(asked(name))
        assert not scheduler._device.alive

    play(scenario, model := FakeModel())
    assert model.passes == ["f", "a", "b"]


def test_a_thread_that_ends_between_two_steps_loses_no_render() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        (task,) = submitted(scheduler, request := asked("a", levels=5))
        await until(lambda: model.steps)
        kill_device()
        model.step_gate.set()
        await task
        assert done(request)

    play(scenario, model := FakeModel(), closed=["step"])


def test_a_step_that_ends_its_thread_is_tried_again() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        await scheduler.submit(request := asked("exits", levels=5))
        assert done(request)

    play(scenario, model := FakeModel())
    assert model.steps == ["e"] * 6


@pytest.mark.parametrize(
    ("message", "full"),
    [
        ("CUDA failure 2: out of memory ; GPU=0 ; hostname=node", True),
        (
            "Status Message: bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 33554432",
            True,
        ),
        ("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes.", True),
        ("Unable to allocate 7.45 GiB for an array with shape (1000000000,)", True),
        ("std::bad_alloc", True),
        ("Non-zero status code returned while running Conv node", False),
    ],
)
def test_memory_is_released_whichever_library_has_none(message: str, full: bool) -> None:
    class Failing(FakeModel):
        def begin(self, requests: Sequence[Request]) -> list[Any]:
            if not self.released:
                raise RuntimeError(message)
            return super().begin(requests)

    async def scenario(scheduler: Scheduler) -> None:
        found = await asyncio.gather(scheduler.submit(asked("a")), return_exceptions=True)
        assert isinstance(found[0], RuntimeError) is not full

    play(scenario, model := Failing())
    assert model.released == full
