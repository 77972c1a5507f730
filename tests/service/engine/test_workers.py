"""The threads: calls that were given up on delay no others."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from service.engine.errors import DeviceLost, Stopped
from service.engine.workers import Workers
from tests.service.engine.fakes import until
from tests.service.support import PATIENCE, kill_device


def test_closing_does_not_wait_for_what_is_stuck() -> None:
    begun, gate = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait(PATIENCE)

    async def scenario() -> None:
        workers = Workers(1)
        stuck = asyncio.ensure_future(workers.device.run(work))
        await until(begun.is_set)
        await workers.close(0.1)
        assert not stuck.done()
        stuck.cancel()

    begin = time.monotonic()
    asyncio.run(scenario())
    assert time.monotonic() - begin < PATIENCE / 2
    gate.set()


def test_work_that_exits_does_not_take_the_event_loop_along() -> None:
    def leave() -> None:
        raise SystemExit(3)

    async def scenario() -> None:
        workers = Workers(1)
        try:
            with pytest.raises(DeviceLost):
                await workers.device.run(leave)
            assert await workers.device.run(lambda: 1) == 1
            assert workers.device.alive
        finally:
            await workers.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_a_dead_thread_of_the_device_is_replaced_once() -> None:
    async def scenario() -> None:
        workers = Workers(1)
        try:
            assert await workers.device.run(lambda: 1) == 1
            for left in (True, False):
                kill_device()
                with pytest.raises(DeviceLost):
                    await workers.device.run(lambda: 2)
                assert workers.device.alive is left
                if left:
                    assert await workers.device.run(lambda: 3) == 3
            with pytest.raises(Stopped):
                await workers.device.run(lambda: 4)
        finally:
            await workers.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


@pytest.mark.parametrize("start", ["torch.set_num_threads", "threading.Thread.start"])
def test_a_thread_that_cannot_start_is_replaced_once(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    async def scenario() -> None:
        workers = Workers(1)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(start, refuse)
                with pytest.raises(DeviceLost):
                    await workers.device.run(lambda: 1)
            assert workers.device.alive
            assert await workers.device.run(lambda: 2) == 2
        finally:
            await workers.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
