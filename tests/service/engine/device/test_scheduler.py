"""The scheduler alone, with a model whose requests say what should happen to them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from service.engine.device.scheduler import Scheduler
from service.engine.errors import DeadlinePassed, TooCostly
from service.engine.request import Request
from tests.service.engine.fakes import (
    FOREVER,
    MODEL,
    FakeModel,
    asked,
    done,
    levels,
    other_tasks_run,
    play,
    queued,
    submitted,
    until,
)


def test_equal_sizes_share_and_different_ones_never_do() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        square, wide = (10, 10), (20, 5)
        requests = [
            asked(n, padded=p)
            for n, p in (("a", square), ("x", wide), ("b", square), ("y", wide), ("c", square))
        ]
        await asyncio.gather(*submitted(scheduler, *requests))
        assert [request.prediction.renders[0].owner for request in requests] == list("axbyc")  # type: ignore[attr-defined]
        assert done(*requests)

    play(scenario, model := FakeModel())
    assert model.passes == ["abc", "xy"]
    assert model.reasons == ["idle", "idle"]


def test_a_batch_waits_for_a_request_that_is_being_decoded() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        decoded = asyncio.Event()

        async def decoding(request: Request) -> None:
            with scheduler.expected():
                await decoded.wait()
            await scheduler.submit(request)

        second = asyncio.create_task(decoding(asked("b")))
        await other_tasks_run()
        (first,) = submitted(scheduler, asked("a"))
        await other_tasks_run()
        assert not model.passes
        decoded.set()
        await asyncio.gather(first, second)

    play(scenario, model := FakeModel(), max_wait=FOREVER)
    assert model.passes == ["ba"]
    assert model.reasons == ["idle"]


def test_a_batch_waits_only_so_long() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        with scheduler.expected():
            await scheduler.submit(asked("a"))

    play(scenario, model := FakeModel(), max_wait=0.01)
    assert model.reasons == ["time"]


def test_renders_of_all_requests_share_steps_and_each_is_answered_when_it_is_done() -> None:
    order: list[str] = []

    async def scenario(scheduler: Scheduler) -> None:
        async def one(request: Request) -> None:
            await scheduler.submit(request)
            order.append(request.id)

        await asyncio.gather(one(asked("long", 5)), one(asked("short", 2)), one(asked("none", renders=0)))

    play(scenario, model := FakeModel())
    assert model.steps == ["ls", "ls", "l", "l", "l"]
    assert order == ["none", "short", "long"]
    assert model.points == [{7: 200}, {14: 200}, {28: 100}, {56: 100}, {112: 100}]


def test_renders_of_a_request_keep_abreast() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        await scheduler.submit(asked("a", levels=2, renders=5))

    play(scenario, model := FakeModel())  # three renders a step
    assert model.steps == ["aaa", "aaa", "aaa", "a"]
    assert model.points == [{7: 300}, {7: 200, 14: 100}, {14: 300}, {14: 100}]


def test_a_small_request_passes_a_large_one_that_is_being_refined() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        large = submitted(scheduler, asked("large", levels=5, cost=FOREVER))
        await until(lambda: model.steps)
        small = submitted(scheduler, asked("small", levels=3, cost=0.01))
        await queued(scheduler, 1)
        model.step_gate.set()
        await asyncio.gather(*large, *small)

    play(scenario, model := FakeModel(), closed=["step"], points=100)
    assert "".join(model.steps) == "lssslll" + "l"


def test_a_large_request_does_not_starve() -> None:
    """Once it has waited in proportion to its cost, it is served before small ones that come later."""

    async def scenario(scheduler: Scheduler) -> None:
        large = asked("large", levels=5, cost=0.001)
        tasks = submitted(scheduler, large)
        await until(lambda: model.steps)
        await until(lambda: asyncio.get_running_loop().time() > large.due)
        tasks += submitted(scheduler, asked("small", levels=2))
        await queued(scheduler, 1)
        model.step_gate.set()
        await asyncio.gather(*tasks)

    play(scenario, model := FakeModel(), closed=["step"], points=100)
    assert "".join(model.steps) == "lllllss"


def test_a_bad_request_fails_alone() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        tasks = submitted(scheduler, *(asked(name) for name in ("a", "bad", "c")))
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(end) for end in ends] == ["None", "bad request", "None"]
        await scheduler.submit(asked("later"))

    play(scenario, model := FakeModel())
    assert model.passes == ["abc", "a", "bc", "b", "c", "l"]
    assert model.released == 0


def test_a_render_that_fails_fails_no_other_request() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        requests = [asked(name, levels=3) for name in ("a", "late", "c")]
        ends = await asyncio.gather(*submitted(scheduler, *requests), return_exceptions=True)
        assert [str(end) for end in ends] == ["None", "late failure", "None"]
        assert done(requests[0], requests[2])

    play(scenario, FakeModel())


def test_a_pass_with_too_few_results_fails_its_batch_and_nothing_else() -> None:
    class Forgetful(FakeModel):
        def begin(self, requests: Sequence[Request]) -> list[Any]:
            return [] if requests[0].id == "none" else super().begin(requests)

    async def scenario(scheduler: Scheduler) -> None:
        with pytest.raises(RuntimeError, match="1 has 0 results"):
            await scheduler.submit(asked("none"))
        await scheduler.submit(asked("a"))

    play(scenario, Forgetful())


def test_a_request_that_leaves_is_dropped_wherever_it_is() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        passing, waiting, other = asked("passing", levels=9), asked("waiting"), asked("other")
        first = submitted(scheduler, passing)
        await until(lambda: model.passes)
        second, third = submitted(scheduler, waiting, other)
        await queued(scheduler, 2)
        assert scheduler.depth(MODEL) == {"queue": 2, "coarse": 1, "refine": 0}
        for task in (*first, second):
            task.cancel()
        await asyncio.gather(*first, second, return_exceptions=True)
        assert (passing.stage, waiting.stage) == ("coarse", "queue")
        assert scheduler.depth(MODEL)["queue"] == 1
        model.pass_gate.set()
        await until(lambda: model.steps)
        refining = asked("refining", levels=9)
        model.step_gate.set()
        await third
        model.step_gate.clear()
        (fourth,) = submitted(scheduler, refining)
        await until(lambda: "r" in "".join(model.steps))
        fourth.cancel()
        await asyncio.gather(fourth, return_exceptions=True)
        assert refining.stage == "refine"
        model.step_gate.set()
        await scheduler.submit(asked("later"))
        assert scheduler.depth(MODEL) == {"queue": 0, "coarse": 0, "refine": 0}

    play(scenario, model := FakeModel(), closed=["pass", "step"])
    assert model.passes == ["p", "o", "r", "l"]
    assert model.steps == ["o", "r", "l"]


def test_masks_may_be_limited() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        await scheduler.submit(limited := asked("a", levels=9, max_side=28))
        assert levels(limited) == [28]

    play(scenario, FakeModel())


def test_a_pass_that_would_end_too_late_is_not_begun_for_nothing() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        first = submitted(scheduler, asked("first"))
        await until(lambda: model.passes)
        hopeless = asked("hopeless", deadline=FOREVER, coarse_cost=2 * FOREVER)
        others = submitted(scheduler, hopeless, asked("other"))
        await queued(scheduler, 2)
        model.pass_gate.set()
        with pytest.raises(DeadlinePassed):
            await others[0]
        await asyncio.gather(*first, others[1])
        # With the device to itself it delays no other request, and the prediction may be wrong.
        await scheduler.submit(hopeless)

    play(scenario, model := FakeModel(), closed=["pass"])
    assert model.passes == ["f", "o", "h"]


def test_models_take_turns_in_one_order() -> None:
    """A request is served before one of another model that is due later, however many of these there are."""

    async def scenario(scheduler: Scheduler) -> None:
        first = submitted(scheduler, asked("first"))
        await until(lambda: model.passes)
        many = submitted(scheduler, *(asked(f"m{i}", padded=(20, 20), cost=1) for i in range(3)))
        small = submitted(scheduler, asked("small", cost=0.01, model="other"))
        await queued(scheduler, 3)
        model.pass_gate.set()
        await asyncio.gather(*first, *many, *small)

    model = FakeModel()
    other = FakeModel(passes=model.passes)
    other.pass_gate.set()
    other.step_gate.set()
    play(scenario, model, closed=["pass"], others={"other": other})
    assert model.passes == ["f", "s", "m", "m", "m"]


def test_maps_and_masks_stay_within_their_memory() -> None:
    """A pass does not begin before there is memory for its maps, nor a render before there is memory for its mask."""

    async def scenario(scheduler: Scheduler) -> None:
        async def served(request: Request) -> None:
            await scheduler.submit(request)
            await answered.wait()
            scheduler.release(request)

        tasks = [
            asyncio.create_task(served(asked(name, maps=40, padded=(20, 20)))) for name in ("a", "b", "c")
        ]
        await until(lambda: len(model.steps) == 2)
        await other_tasks_run()
        assert scheduler.depth(MODEL) == {"queue": 1, "coarse": 0, "refine": 0}
        answered.set()
        await asyncio.gather(*tasks)

    answered = asyncio.Event()
    play(scenario, model := FakeModel(), memory=100)  # each has maps of 40 and a mask of 7
    assert model.passes == ["a", "b", "c"]


def test_maps_that_need_more_memory_than_there_is_go_alone() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        for name in ("a", "b"):
            request = asked(name, maps=200)
            await scheduler.submit(request)
            scheduler.release(request)
            assert request.held_bytes == 0

    play(scenario, FakeModel(), memory=100)


def test_masks_that_need_more_memory_than_there_is_are_refused() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        with pytest.raises(TooCostly, match="its 3 masks would take 672 bytes, and 600 are allowed"):
            await scheduler.submit(asked("many", levels=6, renders=3))
        await scheduler.submit(asked("few", levels=6, renders=2))

    play(scenario, FakeModel(), memory=600)


def test_masks_wait_for_memory_even_if_they_are_first() -> None:
    """Each needs 90 of 100 bytes. The one that is due first waits until the other gives back what it holds."""

    async def scenario(scheduler: Scheduler) -> None:
        other, first = asked("other", levels=1, renders=12, cost=1), asked("first", levels=1, renders=12)
        await scheduler.submit(other)  # its answer is being encoded
        (task,) = submitted(scheduler, first)
        await until(lambda: scheduler.depth(MODEL)["refine"] == 1)
        await other_tasks_run()
        assert not task.done() and not first.rendering
        scheduler.release(other)
        await task

    play(scenario, FakeModel(), memory=100)


def test_requests_never_wait_for_each_others_memory_in_a_circle() -> None:
    """The maps of two requests leave no room for the masks of either."""

    async def scenario(scheduler: Scheduler) -> None:
        async def served(request: Request) -> None:
            await scheduler.submit(request)
            scheduler.release(request)

        requests = [asked(name, renders=6, maps=50, padded=(20, 20)) for name in ("a", "b")]
        tasks = [asyncio.create_task(served(request)) for request in requests]
        await until(lambda: model.passes)
        model.step_gate.set()
        await asyncio.gather(*tasks)
        assert [request.held_bytes for request in requests] == [0, 0]

    play(scenario, model := FakeModel(), closed=["step"], memory=110)


def test_few_images_are_decoded_before_their_turn() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        first = submitted(scheduler, asked("first"))
        await until(lambda: model.passes)
        now = asyncio.get_running_loop().time()
        waiting = submitted(scheduler, asked("a", cost=1), asked("b", cost=2))
        await queued(scheduler, 2)
        assert [scheduler.may_decode(now + 8 * cost, 0) for cost in (0.5, 1.5, 3)] == [True, True, False]
        model.pass_gate.set()
        await asyncio.gather(*first, *waiting)
        assert scheduler.may_decode(FOREVER, 0)

    play(scenario, model := FakeModel(), closed=["pass"], ahead=2)


def test_an_image_that_takes_long_is_decoded_when_it_is_due_soon_or_the_device_is_free() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        now = asyncio.get_running_loop().time()
        assert scheduler.may_decode(now + FOREVER, 1.0)
        first = submitted(scheduler, asked("first"))
        await until(lambda: model.passes)
        assert not scheduler.may_decode(now + FOREVER, 1.0)
        assert scheduler.may_decode(now + FOREVER, 0.1)  # a short one
        assert scheduler.may_decode(now + 3.0, 1.0)  # due soon
        assert scheduler.may_decode(now - 1.0, 1.0)  # due before what is inside
        model.pass_gate.set()
        await asyncio.gather(*first)
        assert scheduler.may_decode(now + FOREVER, 1.0)

    play(scenario, model := FakeModel(), closed=["pass"])


def test_images_that_wait_are_looked_at_when_the_device_is_free_again() -> None:
    async def scenario(scheduler: Scheduler) -> None:
        allowed: list[bool] = []
        scheduler._taken = lambda: allowed.append(scheduler.may_decode(2 * FOREVER, 1.0))
        with pytest.raises(ValueError, match="bad request"):
            await scheduler.submit(asked("bad"))
        await until(lambda: allowed and allowed[-1])

    play(scenario, FakeModel())
