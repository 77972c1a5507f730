"""The threads: calls that were given up on delay no others."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from service.engine.errors import DeviceLost, Stopped
from service.engine.workers import Workers
from service.torch_threads import set_torch_threads
from tests.service.engine.fakes import until
from tests.service.support import PATIENCE, kill_device


def threads_of_this_process() -> int:
    return len(os.listdir("/proc/self/task"))


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


def test_only_the_device_has_several_threads_of_torch() -> None:
    """A second team of threads would keep both from waiting awake."""

    def divided() -> tuple[int, int]:
        before = threads_of_this_process()
        torch.rand(1 << 20).exp_()
        return torch.get_num_threads(), threads_of_this_process() - before

    async def scenario() -> None:
        workers = Workers(3)
        try:
            assert await workers.in_pool(lambda _: divided()) == (1, 0)
            assert await workers.device.run(divided) == (3, 2)
            assert await workers.in_pool(lambda _: divided()) == (1, 0)
            assert await workers.device.run(divided) == (3, 0)  # the same threads again
        finally:
            await workers.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_what_another_thread_sets_changes_no_thread_of_the_device() -> None:
    async def scenario() -> None:
        workers = Workers(3)
        try:
            await workers.device.run(lambda: None)
            set_torch_threads(1)
            assert await workers.device.run(torch.get_num_threads) == 3
        finally:
            await workers.close()

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_a_new_thread_keeps_its_own_number_when_another_one_sets_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_number = torch.set_num_threads

    def then_another(count: int) -> None:
        set_number(count)
        other = threading.Thread(target=set_number, args=(1,))
        other.start()
        other.join(PATIENCE)

    monkeypatch.setattr(torch, "set_num_threads", then_another)

    def number() -> int:
        set_torch_threads(3)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(number).result(PATIENCE) == 3


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
