"""One model's requests on one device: coarse passes in batches, then renders level by level, interleaved.

The loop does one small thing at a time (a coarse pass, or a step of the renderer) for whoever is due first, see
`batching.py`. Between two things requests come, leave, or meet their deadline; each is answered when its
last render is done, not when its batch is. Everything but the work itself happens on the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Generic

from model.pointrend.render import COARSEST
from service.engine import batching
from service.engine.batching import Batch, Limits
from service.engine.device import Attempts, tell
from service.engine.entry import Entry, fail
from service.engine.request import DeadlinePassed, Done, Item, Model, Observer, P, Stage, Stopped, Wish
from service.engine.workers import Workers

RESTARTS = 1
URGENT = -math.inf  # due before everything else
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Scheduler(Generic[Item, P]):
    """See the module. `coming` counts requests that will be submitted soon."""

    workers: Workers
    limits: Limits
    model: Model[Item, P]
    observer: Observer[Item]
    alive: bool = False
    coming: int = 0
    _waiting: list[Entry[Item, P]] = field(default_factory=list)
    _passing: list[Entry[Item, P]] = field(default_factory=list)
    _refining: list[Entry[Item, P]] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _working: bool = False  # its own work has the device
    _stopped: bool = False
    _attempts: Attempts[Item, P] = field(init=False)

    def __post_init__(self) -> None:
        self._attempts = Attempts(self.workers, self.model, self.observer)

    @property
    def depth(self) -> dict[Stage, int]:
        """Requests by stage."""
        return {"queue": len(self._waiting), "coarse": len(self._passing), "refine": len(self._refining)}

    @contextmanager
    def expected(self) -> Iterator[None]:
        """Inside, a request prepares to submit: a batch may wait for it."""
        self.coming += 1
        try:
            yield
        finally:
            self.coming -= 1
            self._changed.set()

    async def submit(self, item: Item, wish: Wish) -> Done[P]:
        """The item's renders, finished or as far as the deadline allows.

        Raises DeadlinePassed, Stopped, or what the model raises for this item alone. Cancelled, it leaves.
        """
        if self._stopped:
            raise Stopped("the scheduler has stopped")
        loop = asyncio.get_running_loop()
        now = loop.time()
        if wish.deadline is not None and wish.deadline <= now:
            raise DeadlinePassed
        entry = Entry[Item, P](item, wish, now, now + self.limits.stretch * wish.cost, loop.create_future())
        self._waiting.append(entry)
        self._changed.set()
        timer = (
            None
            if wish.deadline is None
            else loop.call_at(wish.deadline, self._too_late, entry, wish.deadline)
        )
        try:
            return await entry.future
        except asyncio.CancelledError:
            tell(lambda: self.observer.left(entry.stage))
            raise
        finally:
            if timer is not None:
                timer.cancel()
            for stage in (self._waiting, self._refining):
                if entry in stage:
                    stage.remove(entry)

    async def serve(self) -> None:
        """Work until cancelled. Should the loop itself fail, who is inside fails and it starts once more."""
        self.alive = True
        try:
            for _ in range(1 + RESTARTS):
                try:
                    await self._loop()
                except Exception:
                    _log.exception("the scheduler failed")
                    self._fail_all()
        finally:
            self.alive, self._stopped = False, True
            self._fail_all()

    async def _loop(self) -> None:
        while True:
            await self._something_to_do()
            async with self.workers.turn:  # other models' schedulers take turns with this one
                self._working = True
                try:
                    await self._work()
                finally:
                    self._working = False

    async def _something_to_do(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._changed.clear()
            if self._refining:
                await asyncio.sleep(0)  # whoever left in the meantime is gone now
                return
            if batching.form(self._waiting, self.limits, loop.time(), self.coming):
                return
            left = batching.ripe(self._waiting, self.limits) - loop.time() if self._waiting else None
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    async def _work(self) -> None:
        """One pass or one step, whichever is due first."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._give_up(now)
        self._show(now + self._attempts.step.value)
        batch = batching.form(self._waiting, self.limits, now, self.coming)
        first = min(self._refining, key=lambda e: e.due, default=None)
        if first is not None and (batch is None or first.due <= batch.entries[0].due):
            await self._refine()
        elif batch is not None:
            self._show(now + sum(entry.wish.coarse for entry in batch.entries))
            await self._hurry()
            await self._pass(batch)
        self._show(loop.time())
        await self._hurry()  # the next turn may be another model's

    async def _hurry(self) -> None:
        while any(entry.due == URGENT for entry in self._refining):
            await self._refine()
            self._answer()

    def _show(self, until: float) -> None:
        """Whose deadline comes before that is answered with the finest finished level, if there is one.

        Without one, it is urgent: for the coarsest there is.
        """
        for entry in self._refining:
            if entry.wish.deadline is not None and until >= entry.wish.deadline:
                entry.due = URGENT
                for piece in entry.pieces:
                    piece.limit(COARSEST)
        self._answer()

    def _give_up(self, now: float) -> None:
        """Whose pass would end after the deadline has none, if it would hold others up: nothing would be gained.

        With nobody else inside it is tried all the same, so that a prediction once too high does not stay so.
        """
        for entry in list(self._waiting):
            alone = not self._refining and len(self._waiting) == 1
            if (
                not alone
                and entry.wish.deadline is not None
                and now + entry.wish.coarse > entry.wish.deadline
            ):
                fail(entry, DeadlinePassed())
                self._waiting.remove(entry)

    async def _pass(self, batch: Batch[Entry[Item, P]]) -> None:
        self._passing = list(batch.entries)
        self._waiting = [e for e in self._waiting if e not in self._passing]
        await self._begin(self._passing, batch.reason)
        self._passing = []  # not when the loop is ended: who is in it must be told

    async def _begin(
        self, entries: Sequence[Entry[Item, P]], reason: batching.Reason, *, last: bool = False
    ) -> None:
        """A pass; if it fails, one over each half, so that a bad item fails alone and a full device copes.

        One alone has another try, its `last`, if the failure was the device's.
        """
        entries = [e for e in entries if not e.future.done()]
        if not entries:
            return
        loop = asyncio.get_running_loop()
        start = loop.time()
        for entry in entries:
            entry.stage, entry.begun = "coarse", start
        items = [entry.item for entry in entries]
        found = await self._attempts.begin(items)
        if isinstance(found, Exception):
            mended = await self._attempts.mended(found)
            if len(entries) > 1:
                middle = len(entries) // 2
                await self._begin(entries[:middle], reason)
                await self._begin(entries[middle:], reason)
            elif mended and not last:
                await self._begin(entries, reason, last=True)
            else:
                fail(entries[0], found)
            return
        end = loop.time()
        tell(lambda: self.observer.passed(items, entries[0].padded, reason, end - start))
        for entry, pieces in zip(entries, found, strict=True):
            if not entry.future.done():
                entry.stage, entry.pieces, entry.passed = "refine", pieces, end
                if entry.wish.at_most is not None:
                    for piece in pieces:
                        piece.limit(entry.wish.at_most)
                self._refining.append(entry)

    async def _refine(self) -> None:
        order = sorted(self._refining, key=lambda e: e.due)
        # A request's renders keep abreast, so that a deadline finds none of them without a mask.
        # Lazily: of a long queue only the first few requests are looked at.
        abreast = (piece for e in order for piece in sorted(e.pending(), key=lambda p: p.next_level()[0]))
        pieces = batching.step(abreast, self.limits)
        failure = await self._attempts.advance(pieces)
        if failure is not None:
            await self._attempts.mended(failure)
            chosen = set(map(id, pieces))
            for entry in order:
                own = [piece for piece in entry.pieces if id(piece) in chosen and not piece.done]
                for piece in own:  # the step may have got some of them further before it failed
                    if (failure := await self._attempts.advance([piece])) is not None:
                        fail(entry, failure)
                        break

    def _answer(self) -> None:
        """Whoever is done, failed or gone makes room."""
        now = asyncio.get_running_loop().time()
        for entry in self._refining:
            if entry.done and not entry.future.done():
                waited, coarse = entry.begun - entry.since, entry.passed - entry.begun
                entry.future.set_result(Done(entry.pieces, waited, coarse, now - entry.passed))
        self._refining = [e for e in self._refining if not e.future.done()]

    def _too_late(self, entry: Entry[Item, P], deadline: float) -> None:
        """At the deadline. One that is being worked on gets what comes out of it."""
        if entry.stage == "queue":
            fail(entry, DeadlinePassed())
        elif entry.stage == "refine" and not self._working:
            self._show(deadline)
            if self.workers.turn.locked():  # by another model, for who knows how long
                fail(entry, DeadlinePassed())

    def _fail_all(self) -> None:
        for entry in (*self._passing, *self._refining, *self._waiting):
            fail(entry, Stopped("the scheduler has stopped"))
        self._passing, self._refining, self._waiting = [], [], []
