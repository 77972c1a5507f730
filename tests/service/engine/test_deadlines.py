"""Deadlines while another pass has the device, this model's or another's: it lasts until the test lets it end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from service.engine.request import DeadlinePassed, Done, Wish
from service.engine.scheduler import Scheduler
from tests.service.engine.test_scheduler import WISH, Fake, Item, Piece, play, until


@dataclass(eq=False)
class Second(Fake):
    """Its second pass has a gate of its own."""

    second: threading.Event = field(default_factory=threading.Event)

    def begin(self, items: Sequence[Item]) -> list[list[Piece]]:
        found = super().begin(items)
        assert len(self.passes) == 1 or self.second.wait(10)
        return found


@asynccontextmanager
async def another(scheduler: Scheduler[Item, Piece]) -> AsyncIterator[Fake]:
    """Another model on the same device, with a request that waits for its turn or has it."""
    fake = Fake()
    other = Scheduler[Item, Piece](scheduler.workers, scheduler.limits, fake, fake)
    serving = asyncio.create_task(other.serve())
    waiting = asyncio.create_task(other.submit(Item("other"), WISH))
    await asyncio.sleep(0.02)
    try:
        yield fake
        assert not waiting.done()
        fake.gate.set()
        await waiting
    finally:
        fake.gate.set()
        serving.cancel()
        await asyncio.gather(serving, waiting, return_exceptions=True)


def soon(seconds: float) -> Wish:
    return Wish((10, 10), 0.0, deadline=asyncio.get_running_loop().time() + seconds)


def ask(scheduler: Scheduler[Item, Piece], wish: Wish, levels: int = 9999) -> asyncio.Task[Done[Piece]]:
    return asyncio.create_task(scheduler.submit(Item("mine", levels=levels), wish))


def test_the_finest_finished_level_is_answered_at_the_deadline() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        mine = ask(scheduler, soon(1))
        await until(lambda: len(fake.steps) > 3)
        async with another(scheduler) as other:
            await until(lambda: other.passes)
            finished = len(fake.steps)
            assert [piece.level for piece in (await mine).pieces] == [7 * 2 ** (finished - 1)]

    play(scenario, fake := Fake(slow=0.01))


def test_who_waits_for_a_pass_is_told_at_the_deadline() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        async with another(scheduler) as other:
            await until(lambda: other.passes)
            with pytest.raises(DeadlinePassed):
                await ask(scheduler, soon(0.05))

    play(scenario, fake := Fake())
    assert not fake.passes


def test_without_any_level_there_is_nothing_to_answer() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        mine = ask(scheduler, soon(1))
        await until(lambda: fake.passes)
        async with another(scheduler) as other:
            fake.gate.set()
            await until(lambda: other.passes)  # between the pass and the first step
            with pytest.raises(DeadlinePassed):
                await mine

    play(scenario, fake := Fake(), open_gate=False)
    assert not fake.steps


def test_a_deadline_during_the_pass_gives_the_coarsest_mask_before_the_turn_goes_on() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        mine = ask(scheduler, soon(0.02))
        await until(lambda: fake.passes)
        async with another(scheduler) as other:
            await asyncio.sleep(0.05)
            fake.gate.set()
            assert [piece.level for piece in (await mine).pieces] == [7]
            await until(lambda: other.passes)

    play(scenario, fake := Fake(), open_gate=False)


def test_the_coarsest_mask_comes_before_a_pass_that_would_end_too_late() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        deadline = asyncio.get_running_loop().time() + 2
        mine = asyncio.create_task(
            scheduler.submit(Item("mine", levels=9), Wish((10, 10), 100.0, deadline))  # others pass it
        )
        await until(lambda: fake.passes)
        long = asyncio.create_task(scheduler.submit(Item("long"), Wish((10, 10), 0.0, coarse=60.0)))
        await asyncio.sleep(0.01)
        fake.gate.set()
        assert [piece.level for piece in (await mine).pieces] == [7]
        assert not long.done()
        fake.second.set()
        await long

    play(scenario, fake := Second(), open_gate=False)
    assert fake.passes == ["m", "l"]
