"""The scheduler alone: items name what should happen to them, pieces are masks of so many levels."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from service.engine.batching import Limits, Reason
from service.engine.request import DeadlinePassed, Stage, Stopped, Wish
from service.engine.scheduler import Scheduler
from service.engine.workers import Workers

WISH = Wish(padded=(10, 10), cost=0.0)


@dataclass(frozen=True)
class Item:
    name: str
    levels: int = 1  # of each of its pieces
    pieces: int = 1


@dataclass(eq=False)
class Piece:
    owner: str
    side: int  # 7 · 2ⁿ after n levels
    level: int = 0
    count: int = 100

    @property
    def done(self) -> bool:
        return self.level >= self.side

    def next_level(self) -> tuple[int, int]:
        return self.level * 2 or 7, self.count

    def limit(self, side: int) -> None:
        self.side = min(self.side, max(side, self.level))


@dataclass(eq=False)
class Fake:
    """The model and the observer in one. "bad" fails in its pass, "late" in its second level."""

    gate: threading.Event = field(default_factory=threading.Event)  # a pass waits for it
    slow: float = 0.0  # s of a step
    passes: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    points: list[Mapping[int, int]] = field(default_factory=list)
    gone: list[Stage] = field(default_factory=list)
    released: int = 0
    most: int = 99  # images that fit into memory

    def begin(self, items: Sequence[Item]) -> list[list[Piece]]:
        self.passes.append("".join(item.name[0] for item in items))
        assert self.gate.wait(10)
        if len(items) > self.most:
            raise RuntimeError("CUDA out of memory")
        if any(item.name == "bad" for item in items):
            raise ValueError("bad item")
        return [[Piece(i.name, 7 * 2 ** (i.levels - 1)) for _ in range(i.pieces)] for i in items]

    def advance(self, pieces: Sequence[Piece]) -> None:
        time.sleep(self.slow)
        self.steps.append("".join(piece.owner[0] for piece in pieces))
        if any(piece.owner == "late" and piece.level for piece in pieces):
            raise ValueError("late failure")
        for piece in pieces:
            assert not piece.done
            piece.level = piece.next_level()[0]

    def release(self) -> None:
        self.released += 1

    def passed(self, items: Sequence[Item], padded: tuple[int, int], reason: Reason, seconds: float) -> None:
        self.reasons.append(reason)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        self.points.append(points)

    def left(self, stage: Stage) -> None:
        self.gone.append(stage)


Scenario = Callable[[Scheduler[Item, Piece]], Awaitable[None]]


def play(scenario: Scenario, fake: Fake, *, open_gate: bool = True, **limits: Any) -> None:
    if open_gate:
        fake.gate.set()

    async def run() -> None:
        workers = Workers(1)
        limit = Limits(**{"max_wait": 0.05, "pixels": 400, "points": 300, **limits})
        scheduler = Scheduler[Item, Piece](workers, limit, fake, fake)
        serving = asyncio.create_task(scheduler.serve())
        try:
            async with asyncio.timeout(10):
                await scenario(scheduler)
        finally:
            fake.gate.set()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await workers.close()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_equal_sizes_share_and_different_ones_never_do() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        sizes = [(10, 10), (20, 5), (10, 10), (20, 5), (10, 10)]
        done = await asyncio.gather(
            *(
                scheduler.submit(Item(n), Wish(s, 0.0))
                for n, s in zip(["a", "x", "b", "y", "c"], sizes, strict=True)
            )
        )
        assert [each.pieces[0].owner for each in done] == ["a", "x", "b", "y", "c"]
        assert all(piece.done for each in done for piece in each.pieces)

    play(scenario, fake := Fake())
    assert fake.passes == ["abc", "xy"]
    assert fake.reasons == ["idle", "idle"]


def test_who_is_being_decoded_is_waited_for() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        with scheduler.expected():
            first = asyncio.create_task(scheduler.submit(Item("a"), WISH))
            await asyncio.sleep(0.01)
            assert not fake.passes
        second = asyncio.create_task(scheduler.submit(Item("b"), WISH))
        await asyncio.gather(first, second)
        with scheduler.expected():  # in vain
            await scheduler.submit(Item("c"), WISH)

    play(scenario, fake := Fake())
    assert fake.passes == ["ab", "c"]
    assert fake.reasons == ["idle", "time"]


def test_renders_of_all_requests_share_steps_and_each_is_answered_when_it_is_done() -> None:
    order: list[str] = []

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        async def one(item: Item) -> None:
            await scheduler.submit(item, WISH)
            order.append(item.name)

        await asyncio.gather(one(Item("long", 5)), one(Item("short", 2)), one(Item("none", pieces=0)))

    play(scenario, fake := Fake())
    assert fake.steps == ["ls", "ls", "l", "l", "l"]
    assert order == ["none", "short", "long"]
    assert fake.points == [{7: 200}, {14: 200}, {28: 100}, {56: 100}, {112: 100}]


def test_a_requests_renders_keep_abreast() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        await scheduler.submit(Item("a", levels=2, pieces=5), WISH)

    play(scenario, fake := Fake())  # three renders a step
    assert fake.steps == ["aaa", "aaa", "aaa", "a"]
    assert fake.points == [{7: 300}, {7: 200, 14: 100}, {14: 300}, {14: 100}]


def test_a_small_request_passes_a_large_one_that_is_being_refined() -> None:
    order: list[str] = []

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        async def one(item: Item, cost: float) -> None:
            await scheduler.submit(item, Wish((10, 10), cost))
            order.append(item.name)

        large = asyncio.create_task(one(Item("large", levels=40), 10.0))
        await until(lambda: fake.steps)
        small = asyncio.create_task(one(Item("small", levels=3), 0.01))
        await asyncio.gather(large, small)

    play(scenario, fake := Fake(slow=0.002), points=100)
    assert order == ["small", "large"]
    assert "sss" in "".join(fake.steps)


def test_a_large_request_does_not_starve() -> None:
    """Small ones keep coming; the large one's turn comes once it has waited in proportion to its cost."""

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        large = asyncio.create_task(scheduler.submit(Item("large", levels=10), Wish((10, 10), 0.1)))
        small = 0
        while not large.done():
            await scheduler.submit(Item("small", levels=2), Wish((10, 10), 0.0))
            small += 1
        assert all(piece.done for piece in large.result().pieces)
        assert small > 1  # they did pass it at first

    play(scenario, fake := Fake(slow=0.001), points=100)
    assert "".join(fake.steps).count("l") == 10


def test_a_bad_item_fails_alone() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        done = await asyncio.gather(
            *(scheduler.submit(Item(name), WISH) for name in ("a", "bad", "c")), return_exceptions=True
        )
        assert [str(each) if isinstance(each, Exception) else "fine" for each in done] == [
            "fine",
            "bad item",
            "fine",
        ]
        await scheduler.submit(Item("later"), WISH)

    play(scenario, fake := Fake())
    assert fake.passes == ["abc", "a", "bc", "b", "c", "l"]
    assert fake.released == 0


def test_a_render_that_fails_takes_nobody_with_it() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        done = await asyncio.gather(
            *(scheduler.submit(Item(name, levels=3), WISH) for name in ("a", "late", "c")),
            return_exceptions=True,
        )
        assert str(done[1]) == "late failure"
        for each in (done[0], done[2]):
            assert not isinstance(each, BaseException)
            assert all(piece.done for piece in each.pieces)

    play(scenario, Fake())


def test_a_pass_with_too_few_results_fails_its_batch_and_nothing_else() -> None:
    class Forgetful(Fake):
        def begin(self, items: Sequence[Item]) -> list[list[Piece]]:
            return [] if items[0].name == "none" else super().begin(items)

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        with pytest.raises(RuntimeError, match="1 has 0 results"):
            await scheduler.submit(Item("none"), WISH)
        await scheduler.submit(Item("a"), WISH)

    play(scenario, Forgetful())


def test_who_leaves_is_dropped_wherever_it_is() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        passing = asyncio.create_task(scheduler.submit(Item("passing", levels=90), WISH))
        await until(lambda: fake.passes)
        queued = asyncio.create_task(scheduler.submit(Item("queued"), WISH))
        other = asyncio.create_task(scheduler.submit(Item("other"), WISH))
        await asyncio.sleep(0.01)
        assert scheduler.depth == {"queue": 2, "coarse": 1, "refine": 0}
        for task in (queued, passing):
            task.cancel()
        await asyncio.sleep(0)
        fake.gate.set()
        await other
        refining = asyncio.create_task(scheduler.submit(Item("refining", levels=10**6), WISH))
        await until(lambda: "r" in "".join(fake.steps))
        refining.cancel()
        await asyncio.gather(refining, passing, queued, return_exceptions=True)
        await scheduler.submit(Item("later"), WISH)
        assert scheduler.depth == {"queue": 0, "coarse": 0, "refine": 0}

    play(scenario, fake := Fake(slow=0.001), open_gate=False)
    assert fake.passes == ["p", "o", "r", "l"]
    assert fake.gone == ["queue", "coarse", "refine"]
    assert "p" not in "".join(fake.steps)


def test_the_deadline_gives_the_finest_finished_level() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        now = asyncio.get_running_loop().time()
        wish = Wish((10, 10), 0.0, deadline=now + 0.3)
        done = await scheduler.submit(Item("a", levels=60, pieces=3), wish)
        assert 0.1 < asyncio.get_running_loop().time() - now < 2
        assert all(7 < piece.level == piece.side < 7 * 2**59 for piece in done.pieces)

    play(scenario, Fake(slow=0.02))


def test_a_deadline_that_comes_during_the_pass_gives_the_coarsest_mask() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        now = asyncio.get_running_loop().time()
        task = asyncio.create_task(
            scheduler.submit(Item("a", levels=9), Wish((10, 10), 0.0, deadline=now + 0.02))
        )
        await until(lambda: fake.passes)
        await asyncio.sleep(0.05)
        fake.gate.set()
        assert [piece.level for piece in (await task).pieces] == [7]

    play(scenario, fake := Fake(), open_gate=False)


def test_a_deadline_that_comes_before_the_pass_gives_nothing_and_costs_nothing() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        first = asyncio.create_task(scheduler.submit(Item("first"), WISH))
        await until(lambda: fake.passes)
        now = asyncio.get_running_loop().time()
        with pytest.raises(DeadlinePassed):
            await scheduler.submit(Item("second"), Wish((10, 10), 0.0, deadline=now + 0.01))
        with pytest.raises(DeadlinePassed):
            await scheduler.submit(Item("third"), Wish((10, 10), 0.0, deadline=now - 1))
        fake.gate.set()
        await first

    play(scenario, fake := Fake(), open_gate=False)
    assert fake.passes == ["f"]
    assert fake.gone == []


def test_masks_may_be_limited() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        done = await scheduler.submit(Item("a", levels=9), Wish((10, 10), 0.0, at_most=28))
        assert [piece.level for piece in done.pieces] == [28]

    play(scenario, Fake())


def test_a_loop_that_fails_starts_once_more_and_then_is_dead(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake in the scheduler itself")

    monkeypatch.setattr("service.engine.engine.batching.step", broken)

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        for alive in (True, False):
            with pytest.raises(Stopped):
                await scheduler.submit(Item("a"), WISH)
            await asyncio.sleep(0.01)
            assert scheduler.alive is alive
        with pytest.raises(Stopped):
            await scheduler.submit(Item("a"), WISH)

    play(scenario, Fake())
    assert caplog.text.count("the scheduler failed") == 2


def test_what_goes_wrong_with_counting_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Fake):
        def passed(self, *_: Any) -> None:
            raise RuntimeError("a mistake in the metrics")

    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        done = await scheduler.submit(Item("a"), WISH)
        assert all(piece.done for piece in done.pieces)

    play(scenario, Broken())
    assert "a mistake in the metrics" in caplog.text


def test_who_waits_fails_when_the_scheduler_ends() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        passing = asyncio.create_task(scheduler.submit(Item("a"), WISH))
        await until(lambda: fake.passes)
        waiting = asyncio.create_task(scheduler.submit(Item("b"), WISH))
        await asyncio.sleep(0.01)
        next(t for t in asyncio.all_tasks() if "serve" in repr(t.get_coro())).cancel()
        for task in (passing, waiting):
            with pytest.raises(Stopped):
                await task
        assert not scheduler.alive
        fake.gate.set()

    play(scenario, fake := Fake(), open_gate=False)


def test_a_pass_that_would_end_too_late_is_not_begun_for_nothing() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(scheduler.submit(Item("first"), WISH))
        await until(lambda: fake.passes)
        hopeless = Wish((10, 10), 0.0, deadline=loop.time() + 5, coarse=60.0)
        others = [
            asyncio.create_task(scheduler.submit(Item(n), w)) for n, w in (("h", hopeless), ("o", WISH))
        ]
        await asyncio.sleep(0.01)
        fake.gate.set()
        with pytest.raises(DeadlinePassed):
            await others[0]
        assert (await others[1]).pieces
        assert (await first).pieces
        # With the device to itself there is nothing to lose, and the prediction may be wrong.
        assert (await scheduler.submit(Item("h"), hopeless)).pieces

    play(scenario, fake := Fake(), open_gate=False)
    assert fake.passes == ["f", "o", "h"]


def test_a_finished_level_is_shown_before_a_pass_that_would_end_too_late() -> None:
    async def scenario(scheduler: Scheduler[Item, Piece]) -> None:
        loop = asyncio.get_running_loop()
        soon = Wish((10, 10), 100.0, deadline=loop.time() + 2)  # its cost lets others pass it
        first = asyncio.create_task(scheduler.submit(Item("many", levels=12), soon))
        await until(lambda: fake.steps)
        fake.gate.clear()  # the other's pass takes as long as it likes
        other = asyncio.create_task(scheduler.submit(Item("other"), Wish((10, 10), 0.0, coarse=60.0)))
        done = await first
        assert not other.done()
        fake.gate.set()
        assert 7 <= done.pieces[0].level < 7 * 2**11
        assert (await other).pieces

    play(scenario, fake := Fake(slow=0.005))
