"""Which levels of a request are shown, in which order, and which are not because a client is slow or has its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.engine.levels import Levels
from tests.service.engine.fakes import (
    FakeModel,
    FakePrediction,
    FakeRender,
    asked,
    other_tasks_run,
    play,
    submitted,
    until,
)
from tests.service.support import PATIENCE


def at(*sides: int, target: int = 896, done: Sequence[int] = ()) -> Any:
    """A prediction whose renders have finished these sides, and others that are `done` at theirs."""
    renders = [FakeRender("a", target, side) for side in sides]
    return FakePrediction(renders + [FakeRender("a", side, side) for side in done])


def offered(*sides: int) -> Levels:
    levels = Levels()
    for side in sides:
        levels.offer(at(side))
    return levels


async def taken(levels: Levels) -> int | None:
    level = await levels.next()
    return None if level is None else level.side


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, PATIENCE))


def test_a_level_is_that_of_the_render_that_is_behind_and_comes_once() -> None:
    async def test() -> None:
        levels = Levels()
        for sides in ((0, 0), (28, 0), (28, 56), (56, 28), (56, 56), (56, 112)):
            levels.offer(at(*sides))
        levels.offer(at(112, done=[56]))
        assert [await taken(levels) for _ in range(3)] == [28, 56, 112]
        levels.close()
        assert await taken(levels) is None

    run(test())


def test_renders_that_are_done_are_left_to_the_answer() -> None:
    async def test() -> None:
        levels = Levels()
        levels.offer(at(28, 28, target=28))
        levels.offer(at())
        levels.close()
        assert await taken(levels) is None

    run(test())


def test_a_client_that_does_not_read_gets_the_newest_level_alone() -> None:
    async def test() -> None:
        levels = offered(28, 56)
        with levels.held_up():
            await other_tasks_run()
            levels.offer(at(112))
            levels.offer(at(224))
        assert await taken(levels) == 224
        levels.close()
        assert await taken(levels) is None

    run(test())


def test_a_level_that_was_missed_is_not_caught_up_on() -> None:
    async def test() -> None:
        levels = offered(28, 56)
        with levels.held_up():
            await other_tasks_run()
        assert await taken(levels) == 56

    run(test())


def test_a_client_that_reads_at_once_gets_every_level() -> None:
    async def test() -> None:
        levels = offered(28, 56, 112)
        with levels.held_up():
            pass
        await other_tasks_run()
        assert [await taken(levels) for _ in range(3)] == [28, 56, 112]

    run(test())


def test_what_waits_is_dropped_once_there_is_an_answer() -> None:
    async def test() -> None:
        levels = offered(28, 56)
        levels.close()
        levels.offer(at(112))
        assert await taken(levels) is None

    run(test())


def test_whoever_waits_for_a_level_is_told_of_it_and_of_the_end() -> None:
    async def test() -> None:
        levels = Levels()
        waiting = asyncio.create_task(taken(levels))
        await other_tasks_run()
        levels.offer(at(28))
        assert await waiting == 28
        waiting = asyncio.create_task(taken(levels))
        await other_tasks_run()
        levels.close()
        assert await waiting is None

    run(test())


@dataclass
class Shown(Levels):
    """Remembers what was offered, with the steps that the device had begun by then."""

    model: FakeModel
    seen: list[tuple[list[int], int]] = field(default_factory=list)

    def offer(self, prediction: Any) -> None:
        self.seen.append(([render.level for render in prediction.renders], len(self.model.steps)))


def test_the_scheduler_offers_what_is_finished_after_each_step_and_only_where_it_is_wanted() -> None:
    model = FakeModel()

    async def scenario(scheduler: Any) -> None:
        streams, other = asked("s", levels=3, renders=2), asked("o", levels=3)
        streams.levels = shown = Shown(model)
        tasks = submitted(scheduler, streams, other)
        await asyncio.gather(*tasks)
        assert shown.seen == [([0, 0], 0), ([7, 7], 1), ([14, 14], 2)]
        assert other.levels is None

    play(scenario, model)


def test_between_two_levels_a_client_may_leave() -> None:
    model = FakeModel()

    async def scenario(scheduler: Any) -> None:
        streams, other = asked("s", levels=3), asked("o", levels=3)
        streams.levels = shown = Shown(model)
        left, stays = submitted(scheduler, streams, other)
        await until(lambda: model.steps)
        left.cancel()
        await other_tasks_run()
        model.step_gate.set()
        await stays
        assert model.steps == ["so", "o", "o"]
        assert [levels for levels, _ in shown.seen] == [[0]]

    play(scenario, model, closed=("step",))
