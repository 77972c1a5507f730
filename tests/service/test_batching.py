"""The batcher alone: items are (height, width, name), a batch's results their names."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from service.batching import Batcher, Limits, QueueFull
from service.workers import Workers

Item = tuple[int, int, str]


def run(
    scenario: Callable[[Batcher[Item, str]], Coroutine[Any, Any, None]],
    batches: list[list[str]],
    gate: threading.Event | None = None,
    **limits: Any,
) -> None:
    """Play a scenario; `batches` collects what ran, in order. An item called "bad" fails."""

    def compute(items: Sequence[Item]) -> list[str]:
        names = [name for _, _, name in items]
        batches.append(names)
        assert gate is None or gate.wait(10)
        if "bad" in names:
            raise ValueError("bad item")
        return names

    async def play() -> None:
        workers = Workers(1)
        limit = Limits(**{"max_wait": 0.05, "pixels": 400, "length": 10, **limits})
        batcher = Batcher[Item, str](workers, limit, padded=lambda item: item[:2], run=compute)
        serving = asyncio.create_task(batcher.serve())
        try:
            async with asyncio.timeout(10):
                await scenario(batcher)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            workers.close()

    asyncio.run(play())


def test_equal_sizes_share_and_different_ones_never_do() -> None:
    async def scenario(batcher: Batcher[Item, str]) -> None:
        items = [(10, 10, "a"), (20, 5, "x"), (10, 10, "b"), (20, 5, "y"), (10, 10, "c")]
        done = await asyncio.gather(*map(batcher.submit, items))
        assert [each.result for each in done] == ["a", "x", "b", "y", "c"]
        assert all(each.waited >= 0.03 for each in done)

    batches: list[list[str]] = []
    run(scenario, batches)
    assert batches == [["a", "b", "c"], ["x", "y"]]


def test_a_full_batch_does_not_wait() -> None:
    async def scenario(batcher: Batcher[Item, str]) -> None:
        start = time.perf_counter()
        await asyncio.gather(*(batcher.submit((10, 10, name)) for name in "abcdefgh"))
        assert time.perf_counter() - start < 5

    batches: list[list[str]] = []
    run(scenario, batches, max_wait=30)
    assert batches == [list("abcd"), list("efgh")]


def test_an_item_beyond_the_budget_runs_alone() -> None:
    async def scenario(batcher: Batcher[Item, str]) -> None:
        await asyncio.gather(*(batcher.submit((100, 100, name)) for name in "ab"))

    batches: list[list[str]] = []
    run(scenario, batches)
    assert batches == [["a"], ["b"]]


def test_a_bad_item_fails_alone() -> None:
    async def scenario(batcher: Batcher[Item, str]) -> None:
        names = ("a", "bad", "b")
        done = await asyncio.gather(
            *(batcher.submit((10, 10, name)) for name in names), return_exceptions=True
        )
        assert [getattr(each, "result", str(each)) for each in done] == ["a", "bad item", "b"]
        assert (await batcher.submit((10, 10, "later"))).result == "later"

    batches: list[list[str]] = []
    run(scenario, batches)
    assert batches == [["a", "bad", "b"], ["a"], ["bad"], ["b"], ["later"]]


def test_who_leaves_is_dropped() -> None:
    gate = threading.Event()

    async def scenario(batcher: Batcher[Item, str]) -> None:
        running = asyncio.create_task(batcher.submit((10, 10, "running")))
        while not batches:
            await asyncio.sleep(0.001)
        waiting = [asyncio.create_task(batcher.submit((10, 10, name))) for name in "abc"]
        await asyncio.sleep(0.01)
        waiting[1].cancel()
        running.cancel()  # too late to stop; its result is let go
        await asyncio.sleep(0)
        gate.set()
        assert [(await waiting[i]).result for i in (0, 2)] == ["a", "c"]
        with pytest.raises(asyncio.CancelledError):
            await running

    batches: list[list[str]] = []
    run(scenario, batches, gate)
    assert batches == [["running"], ["a", "c"]]


def test_a_pass_with_too_few_results_fails_its_batch_and_nothing_else() -> None:
    async def play() -> None:
        workers = Workers(1)
        limits = Limits(max_wait=0, pixels=400, length=10)
        batcher = Batcher[Item, str](
            workers,
            limits,
            padded=lambda item: item[:2],
            run=lambda items: ["a"] if items[0][2] == "a" else [],
        )
        serving = asyncio.create_task(batcher.serve())
        async with asyncio.timeout(10):
            with pytest.raises(RuntimeError, match="1 has 0 results"):
                await batcher.submit((1, 1, "none"))
            assert (await batcher.submit((1, 1, "a"))).result == "a"
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            with pytest.raises(RuntimeError, match="stopped"):
                await batcher.submit((1, 1, "a"))
        workers.close()

    asyncio.run(play())


def test_a_running_batch_fails_when_the_batcher_stops() -> None:
    gate = threading.Event()

    async def scenario(batcher: Batcher[Item, str]) -> None:
        running = asyncio.create_task(batcher.submit((1, 1, "a")))
        while not batches:
            await asyncio.sleep(0.001)
        _serving().cancel()
        with pytest.raises(RuntimeError, match="stopped"):
            await running
        gate.set()

    batches: list[list[str]] = []
    run(scenario, batches, gate)


def _serving() -> asyncio.Task[Any]:
    return next(task for task in asyncio.all_tasks() if "serve" in repr(task.get_coro()))


def test_no_room() -> None:
    async def scenario(batcher: Batcher[Item, str]) -> None:
        with batcher.place(), batcher.place():
            with pytest.raises(QueueFull) as caught, batcher.place():
                pass
            assert 1 <= caught.value.retry_after <= 60
        with batcher.place():
            pass

    run(scenario, [], length=2)


def test_waiting_items_fail_when_the_batcher_stops() -> None:
    async def scenario(batcher: Batcher[Item, str]) -> None:
        waiting = asyncio.create_task(batcher.submit((1, 1, "a")))
        await asyncio.sleep(0.01)
        _serving().cancel()
        with pytest.raises(RuntimeError, match="stopped"):
            await waiting
        assert not batcher.alive

    run(scenario, [], max_wait=30)
