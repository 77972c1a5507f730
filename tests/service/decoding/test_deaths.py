"""Workers that die, a zygote that dies, a service that is killed; and nothing that stays."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.predict.image_errors import CorruptImage
from model.predict.images import decode_resized
from service.decoding import memory
from service.decoding import pool as pool_module
from service.decoding.errors import NoMemory, NoWorker
from service.decoding.pool import DecodePool
from service.decoding.protocol import UNPREPARED
from tests.paths import ROOT
from tests.service.decoding.support import (
    SCRIPTED,
    action,
    children,
    decoding,
    job,
    picture,
    running,
    until,
    wait_until,
    with_pool,
    zygote,
)


@pytest.mark.parametrize("death", ["crash", "leave 0", "leave 1"])
def test_a_worker_that_dies_of_a_picture_is_replaced(death: str) -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(CorruptImage, match="JPEG image is damaged"):
            await pool.decode(action(death))
        await pool.decode(job(picture()))

    pool = with_pool(test)
    assert (pool.crashes, pool.kills, pool.restarts) == (1, 0, 0)


def test_a_worker_that_the_system_kills_means_too_little_memory() -> None:
    async def test(pool: DecodePool) -> None:
        before = children(zygote())
        waiting = asyncio.create_task(pool.decode(action("wait")))
        await until(lambda: bool(decoding(zygote())))
        for process in before:
            os.kill(process, signal.SIGKILL)
        with pytest.raises(NoMemory, match="too little memory"):
            await waiting
        await pool.decode(job(picture()))

    assert with_pool(test).crashes == 1


def test_a_worker_that_cannot_begin_is_the_services_fault() -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(NoWorker, match="did not start"):
            await pool.decode(action(f"leave {UNPREPARED}"))

    with_pool(test)


def test_a_zygote_that_dies_is_replaced_and_its_jobs_begin_again() -> None:
    async def test(pool: DecodePool) -> None:
        first = zygote()
        workers = children(first)
        waiting = asyncio.create_task(pool.decode(action("wait")))
        await until(lambda: bool(decoding(first)))
        os.kill(first, signal.SIGKILL)
        await until(lambda: pool.restarts == 1 and pool.alive > 0)
        await pool.decode(job(picture()))
        assert not waiting.done() and not any(map(running, workers))
        os.kill(zygote(), signal.SIGKILL)
        with pytest.raises(NoWorker, match="lost twice"):
            await waiting
        await pool.decode(job(picture()))

    assert with_pool(test).restarts == 2


def test_a_zygote_that_dies_while_a_body_is_copied_is_not_the_bodys_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def write(*arguments: Any) -> None:
        written.append(original(*arguments))
        if len(written) == 1:  # the event loop has its turn before the next part
            end_with_workers(zygote())

    async def test(pool: DecodePool) -> None:
        work = job(picture("BMP", 1000, 1000))
        monkeypatch.setattr(memory, "write", write)
        assert np.array_equal(await pool.decode(work), decode_resized(work.data, work.header, work.size))

    original, written = memory.write, list[None]()
    assert with_pool(test).restarts == 1 and len(written) > 2


def test_a_zygote_whose_end_was_not_noticed_is_replaced() -> None:
    async def test(pool: DecodePool) -> None:
        end_with_workers(zygote())
        await pool.decode(job(picture()))

    assert with_pool(test).restarts == 1


def test_a_job_from_before_a_zygotes_end_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fill(descriptor: int, data: bytes) -> None:
        await original(descriptor, data)
        if data.startswith(b"!"):
            await begin.wait()

    async def test(pool: DecodePool) -> None:
        monkeypatch.setattr(pool_module, "_fill", fill)
        early = asyncio.create_task(pool.decode(action("wait")))
        await asyncio.sleep(0)
        end_with_workers(zygote())
        await until(lambda: pool.alive == 0)
        await pool.decode(job(picture()))  # leaves an idle worker of the new zygote
        begin.set()
        await until(lambda: bool(decoding(zygote())))
        (worker,) = decoding(zygote())
        early.cancel()
        await until(lambda: not running(worker))

    begin, original = asyncio.Event(), pool_module._fill
    with_pool(test)


def end_with_workers(process: int) -> None:
    """Kill a zygote, and wait until it and its workers have ended, without a turn of the event loop."""
    workers = children(process)
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not any(map(running, {process, *workers})))


def test_a_zygote_that_cannot_start_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        pool = DecodePool(1, 2**28, "tests.service.decoding.decoders:broken")
        with pytest.raises(NoWorker, match="ended at its start"):
            await pool.start()
        with pytest.raises(NoWorker, match="ended at its start"):
            await pool.decode(job(picture(), (3, 4)))
        await pool.close()

    asyncio.run(test())
    assert "this decoder never works" in capfd.readouterr().err
    assert not children()


def test_a_machine_without_descriptors_is_not_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(24, "Too many open files")

    async def test(pool: DecodePool) -> None:
        monkeypatch.setattr(os, "memfd_create", full)
        with pytest.raises(NoWorker, match="Too many open files"):
            await pool.decode(job(picture()))
        monkeypatch.undo()
        await pool.decode(job(picture()))

    with_pool(test)


def test_everything_ends_with_a_service_that_is_killed() -> None:
    program = f"""
import asyncio, sys
from service.decoding.pool import DecodePool
from tests.service.decoding.support import *
async def main():
    pool = DecodePool(2, 2**28, {SCRIPTED!r})
    await pool.start()
    work = asyncio.create_task(pool.decode(action("spin", seconds=1000)))
    await until(lambda: len(children(zygote())) == 3)
    print(zygote(), *children(zygote()), flush=True)
    await work
asyncio.run(main())
"""
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as service:
        assert service.stdout is not None
        processes = [int(word) for word in service.stdout.readline().split()]
        assert len(processes) == 4 and all(map(running, processes))
        service.kill()
    wait_until(lambda: not any(map(running, processes)))


def test_a_closed_pool_leaves_nothing_behind() -> None:
    async def test(pool: DecodePool) -> None:
        await pool.decode(job(picture()))
        cancelled = asyncio.create_task(pool.decode(action("wait")))
        await until(lambda: bool(decoding(zygote())))
        cancelled.cancel()
        with pytest.raises(CorruptImage):
            await pool.decode(action("crash"))
        processes.update(children(zygote()))

    processes: set[int] = set()
    descriptors, threads = set(os.listdir("/proc/self/fd")), threading.active_count()
    with_pool(test)
    assert processes and not any(map(running, processes)) and not children()
    assert set(os.listdir("/proc/self/fd")) == descriptors and threading.active_count() == threads


def test_results_hold_no_descriptors() -> None:
    async def test(pool: DecodePool) -> None:
        before = len(os.listdir("/proc/self/fd"))
        results = [await pool.decode(job(picture())) for _ in range(5)]
        assert len(os.listdir("/proc/self/fd")) == before and len(results) == 5

    with_pool(test)


def test_memory_of_a_result_is_given_back() -> None:
    async def test(pool: DecodePool) -> None:
        result = await pool.decode(job(picture()))
        assert "memfd:picture" in Path("/proc/self/maps").read_text()
        del result
        assert "memfd:picture" not in Path("/proc/self/maps").read_text()

    with_pool(test)
