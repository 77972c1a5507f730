"""Who may begin, and in which order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.engine.queue.budget import Budget
from service.engine.queue.gate import Gate, Need
from tests.service.engine.fakes import FOREVER, other_tasks_run
from tests.service.support import PATIENCE


class Works:
    """Pieces of work that hold their place until they are told to end."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.begun: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(
        self,
        name: str,
        due: float = FOREVER,
        need: Need | None = None,
        may: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._work(name, due, need or Need(), may))
        await other_tasks_run()

    async def _work(self, name: str, due: float, need: Need, may: Callable[[], bool]) -> None:
        async with self.gate.place(due, need, may):
            self.begun.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await other_tasks_run()

    async def leave(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.gather(self._tasks[name], return_exceptions=True)
        await other_tasks_run()


def play(scenario: Callable[[Works], Awaitable[None]], places: int = 2, limit: int = 100) -> Gate:
    gate = Gate(places, Budget(limit), long_seconds=1)

    async def run() -> None:
        async with asyncio.timeout(PATIENCE):
            await scenario(Works(gate))

    asyncio.run(run())
    return gate


def test_the_first_that_is_due_is_the_next() -> None:
    async def scenario(works: Works) -> None:
        for name, due in (("a", 1), ("late", 9), ("soon", 5)):
            await works.ask(name, FOREVER + due)
        assert works.begun == ["a"]
        assert works.gate.waiting == 2
        for name in ("a", "soon", "late"):
            await works.end(name)
        assert works.begun == ["a", "soon", "late"]

    gate = play(scenario, places=1)
    assert (gate.waiting, gate.memory.held) == (0, 0)


def test_long_work_leaves_a_place_to_short_work() -> None:
    async def scenario(works: Works) -> None:
        for name in ("long", "longer"):
            await works.ask(name, need=Need(seconds=1.1))
        assert works.begun == ["long"]
        await works.ask("short", need=Need(seconds=0.9))
        assert works.begun == ["long", "short"]
        await works.end("short")
        await works.end("long")
        assert works.begun == ["long", "short", "longer"]
        await works.end("longer")

    play(scenario)


def test_what_does_not_fit_waits_and_is_overtaken_until_it_is_due() -> None:
    async def scenario(works: Works) -> None:
        await works.ask("first", need=Need(60))
        await works.ask("large", due=FOREVER, need=Need(50))
        await works.ask("small", due=2 * FOREVER, need=Need(40))
        assert works.begun == ["first", "small"]
        await works.end("small")
        await works.ask("overdue", due=0, need=Need(50))
        await works.ask("tiny", due=FOREVER, need=Need(1))
        assert works.begun == ["first", "small"]
        await works.end("first")
        assert works.begun[2:] == ["overdue", "large"]
        await works.end("overdue")
        assert works.begun[4:] == ["tiny"]
        await works.end("large")
        await works.end("tiny")

    assert play(scenario).memory.held == 0


def test_one_larger_than_the_budget_goes_alone() -> None:
    async def scenario(works: Works) -> None:
        await works.ask("huge", need=Need(101))
        await works.ask("other", need=Need(1))
        assert works.begun == ["huge"]
        await works.end("huge")
        assert works.begun == ["huge", "other"]
        await works.end("other")

    play(scenario)


def test_those_that_leave_give_back_what_they_hold() -> None:
    async def scenario(works: Works) -> None:
        for name in ("a", "b", "c", "d"):
            await works.ask(name, need=Need(100))
        await works.leave("b")
        await works.leave("a")
        assert works.begun == ["a", "c"]
        await works.leave("d")
        await works.end("c")

    gate = play(scenario)
    assert (gate.waiting, gate.memory.held) == (0, 0)


def test_one_that_leaves_as_it_may_begin_takes_no_place() -> None:
    async def scenario(works: Works) -> None:
        await works.ask("a")
        await works.ask("b")
        works._ends["a"].set()
        for _ in range(50):
            await asyncio.sleep(0)
            if "b" not in works.begun and works.gate.waiting == 0:
                break  # the place is given, but "b" has not run yet
        await works.leave("b")
        await works.ask("c")
        assert "c" in works.begun
        await works.end("c")

    play(scenario, places=1)


def test_a_further_condition_holds_back() -> None:
    async def scenario(works: Works) -> None:
        open_now = False
        await works.ask("a", may=lambda: open_now)
        await works.ask("b")
        assert works.begun == ["b"]
        open_now = True
        works.gate.update()
        await other_tasks_run()
        assert works.begun == ["b", "a"]
        await works.end("a")
        await works.end("b")

    play(scenario)
