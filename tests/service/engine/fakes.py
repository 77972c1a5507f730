"""A model whose requests say what should happen to them, for tests of the scheduler without images or networks."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from service.engine.device.batching import BatchLimits, Reason
from service.engine.device.scheduler import Scheduler
from service.engine.queue.budget import Budget
from service.engine.request import Request, Stage
from service.engine.workers import Workers
from tests.service.support import PATIENCE

FOREVER = 1e6  # seconds: longer than any test
MODEL = "fake"


@dataclass(frozen=True)
class Plan:
    """The options of a request: how many renders it has, and how many levels each of them takes."""

    levels: int = 1
    renders: int = 1


@dataclass(eq=False)
class FakeRender:
    """A mask whose side is 7 · 2ⁿ⁻¹ after n levels."""

    owner: str
    target: int
    level: int = 0
    work: int = 100
    truncated: bool = False

    @property
    def done(self) -> bool:
        return self.level >= self.target

    def next_level(self, group_points: int = 0) -> tuple[int, int]:
        return self.level * 2 or 7, self.work

    @property
    def memory(self) -> int:
        return self.target

    def limit(self, side: int) -> None:
        self.target = min(self.target, max(side, self.level))


@dataclass(frozen=True)
class FakePrediction:
    renders: list[FakeRender]

    def finish(self) -> Any:
        raise AssertionError("the scheduler leaves it to the engine to finish a prediction")

    def snapshot(self) -> FakePrediction:
        return FakePrediction([replace(render) for render in self.renders])


@dataclass(eq=False)
class FakeModel:
    """The model and its observer in one.

    Passes and steps are recorded by the first letters of their requests when they begin, and then wait for their gate.
    A request "bad" fails in its pass, "late" in its second level, "exits" ends its first step with SystemExit.
    """

    pass_gate: threading.Event = field(default_factory=threading.Event)
    step_gate: threading.Event = field(default_factory=threading.Event)
    passes: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    points: list[Mapping[int, int]] = field(default_factory=list)
    released: int = 0
    most: int = 99  # images that fit into memory

    def detect(self, requests: Sequence[Request]) -> bool:
        return False

    def begin(self, requests: Sequence[Request]) -> list[Any]:
        self.passes.append("".join(request.id[0] for request in requests))
        assert self.pass_gate.wait(PATIENCE)
        if len(requests) > self.most:
            raise RuntimeError("CUDA out of memory")
        if any(request.id == "bad" for request in requests):
            raise ValueError("bad request")
        return [_prediction(request) for request in requests]

    def advance(self, renders: Sequence[Any]) -> None:
        self.steps.append("".join(render.owner[0] for render in renders))
        assert self.step_gate.wait(PATIENCE)
        if any(render.owner == "late" and render.level for render in renders):
            raise ValueError("late failure")
        if any(render.owner == "exits" for render in renders) and len(self.steps) == 1:
            raise SystemExit
        for render in renders:
            assert not render.done
            render.level = render.next_level()[0]

    def release(self) -> None:
        self.released += 1

    def passed(self, requests: Sequence[Request], reason: Reason, seconds: float) -> None:
        self.reasons.append(reason)

    def advanced(self, points: Mapping[int, int], seconds: float) -> None:
        self.points.append(points)

    def left(self, stage: Stage) -> None: ...

    def answered(self, request: Request) -> None: ...


def _prediction(request: Request) -> FakePrediction:
    target = 7 * 2 ** (request.options.levels - 1)
    return FakePrediction([FakeRender(request.id, target) for _ in range(request.options.renders)])


def asked(
    name: str,
    levels: int = 1,
    renders: int = 1,
    *,
    padded: tuple[int, int] = (10, 10),
    cost: float = 0.0,
    coarse_cost: float = 0.0,
    deadline: float | None = None,
    max_side: int | None = None,
    model: str = MODEL,
    maps: int = 0,
) -> Request:
    """A request that is decoded; its deadline is `deadline` seconds from now."""
    now = asyncio.get_running_loop().time()
    return Request(
        name,
        b"",
        Plan(levels, renders),
        deadline_seconds=deadline,
        model=model,
        arrived=now,
        due=now + 8 * cost,
        cost=cost,
        maps_bytes=maps,
        coarse_cost=coarse_cost,
        max_side=max_side,
        padded=padded,
    )


def levels(request: Request) -> list[int]:
    """The sides that the renders of a request have reached."""
    return [render.level for render in request.prediction.renders]


def done(*requests: Request) -> bool:
    """Whether all renders of these requests are done."""
    return all(render.done for request in requests for render in request.prediction.renders)


Scenario = Callable[[Scheduler], Awaitable[None]]


def play(
    scenario: Scenario,
    model: FakeModel,
    *,
    others: Mapping[str, FakeModel] | None = None,
    closed: Sequence[str] = (),
    memory: float = math.inf,
    **limits: Any,
) -> None:
    """Run a scenario with a scheduler at work, of `model` and perhaps `others` by name.

    The model's gates are open, except the `closed` ones ("pass", "step"). Those of the others are the test's.
    """
    for name, gate in (("pass", model.pass_gate), ("step", model.step_gate)):
        if name not in closed:
            gate.set()

    async def run() -> None:
        workers = Workers(1)
        limit = BatchLimits(**{"max_wait": 0.05, "pixels": 400, "points": 300, **limits})
        scheduler = Scheduler(workers.device, limit, Budget(memory))
        for name, each in {MODEL: model, **(others or {})}.items():
            scheduler.add(name, each, each)
        serving = asyncio.create_task(scheduler.serve(), name="serving")
        try:
            async with asyncio.timeout(PATIENCE):
                await scenario(scheduler)
        finally:
            for each in (model, *(others or {}).values()):
                each.pass_gate.set()
                each.step_gate.set()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            await workers.close()

    asyncio.run(run())


def submitted(scheduler: Scheduler, *requests: Request) -> list[asyncio.Task[None]]:
    """Tasks that submit the requests in this order."""
    return [asyncio.create_task(scheduler.submit(request)) for request in requests]


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds."""
    while not condition():
        await asyncio.sleep(0.001)


async def queued(scheduler: Scheduler, count: int) -> None:
    """Return once so many requests wait for a coarse pass."""
    await until(lambda: scheduler.depth(MODEL)["queue"] == count)


async def other_tasks_run() -> None:
    """Let everything happen that can happen without the device or the passing of time."""
    for _ in range(50):
        await asyncio.sleep(0)


class Deadlines:
    """The deadlines of a running event loop's requests, which come when the test says so."""

    def __init__(self) -> None:
        self._timers: dict[Request, Callable[[], object]] = {}

    def come(self, request: Request) -> None:
        """Let the deadline of a request be now."""
        now = asyncio.get_running_loop().time()
        request.deadline_seconds = now - request.arrived
        self._timers[request]()

    def add(self, request: Request, call: Callable[[], object]) -> None:
        self._timers[request] = call


@contextmanager
def deadlines_by_hand() -> Iterator[Deadlines]:
    """Inside, the timers that schedulers set for deadlines do not run out by themselves."""
    loop, deadlines = asyncio.get_running_loop(), Deadlines()
    call_at = loop.call_at

    def record(when: float, callback: Callable[..., object], *args: Any, **more: Any) -> asyncio.TimerHandle:
        if not isinstance(getattr(callback, "__self__", None), Scheduler):
            return call_at(when, callback, *args, **more)
        request = args[0]
        deadlines.add(request, lambda: callback(request, request.deadline))
        return call_at(loop.time() + FOREVER, lambda: None)

    loop.call_at = record  # type: ignore[assignment]
    try:
        yield deadlines
    finally:
        loop.call_at = call_at  # type: ignore[method-assign]
