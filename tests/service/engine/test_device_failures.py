"""The device fails under the scheduler: it has no more memory, or its thread dies."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Sequence

import pytest

from service.engine.request import Stopped
from service.engine.scheduler import Scheduler
from tests.service.engine.test_scheduler import WISH, Fake, Item, Piece, play, until
from tests.service.support import kill_device


def test_a_full_device_gets_half_a_batch() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        await asyncio.gather(*(scheduler.submit(Item(name), WISH) for name in "abcd"))

    play(scenario, fake := Fake(most=1))
    assert fake.passes == ["abcd", "ab", "a", "b", "cd", "c", "d"]
    assert fake.released == 3


def test_a_single_item_is_tried_again_once_memory_is_released() -> None:
    class Fragmented(Fake):
        def begin(self, items: Sequence[Item]) -> list[list[Piece]]:
            self.most = self.released if items[0].name == "large" else 0 if items[0].name == "huge" else 9
            return super().begin(items)

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        assert (await scheduler.submit(Item("large"), WISH)).pieces
        with pytest.raises(RuntimeError, match="out of memory"):
            await scheduler.submit(Item("huge"), WISH)
        await scheduler.submit(Item("a"), WISH)

    play(scenario, fake := Fragmented())
    assert fake.passes == ["l", "l", "h", "h", "a"]
    assert fake.released == 3


def test_memory_is_released_after_the_failed_pass_let_go_of_it() -> None:
    held: list[weakref.ref[Item]] = []

    class Full(Fake):
        def begin(self, items: Sequence[Item]) -> list[list[Piece]]:
            if len(items) > 1:
                tensor = Item("tensor")  # what a pass allocates
                held.append(weakref.ref(tensor))
                raise RuntimeError("CUDA out of memory")
            return super().begin(items)

        def release(self) -> None:
            super().release()
            assert held[-1]() is None

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        done = await asyncio.gather(*(scheduler.submit(Item(n), WISH) for n in "ab"))
        assert all(each.pieces for each in done)

    play(scenario, fake := Full())
    assert fake.released == 1


def test_nobody_is_failed_by_a_dead_thread_but_the_second_time() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        await scheduler.submit(Item("first"), WISH)
        kill_device()
        done = await asyncio.gather(*(scheduler.submit(Item(name), WISH) for name in "ab"))
        assert all(piece.done for each in done for piece in each.pieces)
        kill_device()
        for name in "cd":
            with pytest.raises(Stopped):
                await scheduler.submit(Item(name), WISH)
        assert not scheduler.workers.alive

    play(scenario, fake := Fake())
    assert fake.passes == ["f", "a", "b"]


def test_a_thread_that_dies_in_a_step_loses_no_render() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        work = asyncio.create_task(scheduler.submit(Item("a", levels=200), WISH))
        await until(lambda: len(fake.steps) > 2)
        kill_device()
        assert all(piece.done for piece in (await work).pieces)

    play(scenario, fake := Fake(slow=0.001))


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
def test_memory_is_released_whoever_has_none(message: str, full: bool) -> None:
    class Failing(Fake):
        def begin(self, items: Sequence[Item]) -> list[list[Piece]]:
            if not self.released:
                raise RuntimeError(message)
            return super().begin(items)

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        found = await asyncio.gather(scheduler.submit(Item("a"), WISH), return_exceptions=True)
        assert isinstance(found[0], RuntimeError) is not full

    play(scenario, fake := Failing())
    assert fake.released == full
