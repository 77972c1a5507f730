"""A pool of decoders: the same pixels, the same errors, and what becomes of workers."""

from __future__ import annotations

import asyncio
import json
import threading

import numpy as np
import pytest

from model.predict.headers import FORMATS
from model.predict.image_errors import CorruptImage, SlowImage, TooMuchMemory, UnsupportedFormat
from model.predict.images import decode_resized
from service.decoding.errors import NoWorker
from service.decoding.pool import MOST_TASKS, DecodePool
from tests.service.decoding.support import action, children, decoding, job, picture, until, with_pool, zygote


def test_the_pixels_are_those_of_decode_resized_in_every_format() -> None:
    async def test(pool: DecodePool) -> None:
        for name in FORMATS:  # large enough for WebP's second thread
            for data in (picture(name), picture(name, 600, 800)):
                work = job(data)
                assert np.array_equal(await pool.decode(work), decode_resized(data, work.header, work.size))

    assert with_pool(test).crashes == 0


def test_a_result_can_be_written_and_outlives_the_pool() -> None:
    results = []

    async def test(pool: DecodePool) -> None:
        results.append(await pool.decode(job(picture())))

    with_pool(test)
    results[0][:] = 3
    assert results[0].shape == (30, 40, 3) and results[0].sum() == 3 * 3600


def test_jobs_run_at_the_same_time_and_workers_are_used_again() -> None:
    async def test(pool: DecodePool) -> None:
        await asyncio.gather(*(pool.decode(job(picture())) for _ in range(3)))
        before = children(zygote())
        for _ in range(5):
            await asyncio.gather(*(pool.decode(job(picture())) for _ in range(3)))
        assert children(zygote()) == before

    with_pool(test, places=3)


def test_a_body_of_many_parts_arrives() -> None:
    async def test(pool: DecodePool) -> None:
        data = picture("BMP", 1000, 1000)
        work = job(data)
        assert np.array_equal(await pool.decode(work), decode_resized(data, work.header, work.size))

    with_pool(test)


def test_an_error_comes_back_as_it_was() -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(UnsupportedFormat, match="^pixels of kind X are not supported$"):
            await pool.decode(action("refuse pixels of kind X are not supported"))
        for _ in range(30):  # no descriptor is left open by a failure
            with pytest.raises(CorruptImage, match="JPEG image is truncated"):
                await pool.decode(job(picture()[:-300]))
        assert not np.array_equal(await pool.decode(job(picture())), np.zeros((30, 40, 3)))

    pool = with_pool(test)
    assert pool.kills == pool.crashes == 0


def test_a_mistake_of_the_decoder_is_logged_and_replaces_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    async def test(pool: DecodePool) -> None:
        before = children(zygote())
        with pytest.raises(CorruptImage):
            await pool.decode(action("fail"))
        assert "KeyError('a mistake')" in caplog.text
        await until(lambda: len(before & children(zygote())) == 1)

    with_pool(test)


def test_more_memory_than_predicted_is_refused() -> None:
    async def test(pool: DecodePool) -> None:
        await pool.decode(action("allocate 50000000", bytes=50_000_000))
        with pytest.raises(TooMuchMemory, match="JPEG image takes more than 10 MB"):
            await pool.decode(action("allocate 200000000", bytes=10 * 2**20))
        await pool.decode(job(picture()))

    with_pool(test)


def test_a_job_beyond_the_largest_is_refused() -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(ValueError, match="workers may have"):
            await pool.decode(action("spin", bytes=2**28 + 1))

    with_pool(test)


def test_more_time_than_allowed_is_refused() -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(SlowImage):
            await pool.decode(action("wait", wall=0.01))
        await pool.decode(job(picture()))

    assert with_pool(test).kills == 1


def test_more_cpu_time_than_predicted_is_refused() -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(SlowImage):  # the least limit that there is, a second
            await pool.decode(action("spin", seconds=0))

    pool = with_pool(test)
    assert (pool.kills, pool.crashes) == (0, 1)


def test_a_limit_of_time_ends_with_its_picture() -> None:
    async def test(pool: DecodePool) -> None:
        running = asyncio.create_task(pool.decode(action("wait")))
        await until(lambda: len(decoding(zygote())) == 1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await pool.decode(job(picture()))
        with pytest.raises(CorruptImage):
            await pool.decode(job(picture()[:-300]))
        await until(lambda: pool.alive == 2)  # the one that was killed has ended
        assert not decoding(zygote())

    with_pool(test)


def test_a_cancelled_job_ends_its_worker_at_once() -> None:
    async def test(pool: DecodePool) -> None:
        await pool.decode(job(picture()))
        before = children(zygote())
        running = asyncio.create_task(pool.decode(action("wait")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert pool.kills == 1
        await pool.decode(job(picture()))  # its place is free meanwhile
        await until(lambda: len(before & children(zygote())) == 1 and pool.alive == 2)

    with_pool(test)


def test_a_large_job_yields_and_ends_its_worker() -> None:
    async def test(pool: DecodePool) -> None:
        found = []
        for changes in ({}, {"seconds": 0.3}, {"bytes": 2**28}, {}):
            with pytest.raises(CorruptImage) as error:
                await pool.decode(action("who", **changes))
            found.append(json.loads(str(error.value)))
        small, slow, big, again = found
        assert slow["nice"] == big["nice"] == min(small["nice"] + 10, 19)
        assert again["nice"] == small["nice"]
        assert len({fact["process"] for fact in (slow, big, again)}) == 3
        assert small["core"] == 0 and small["files"] <= 16

    assert with_pool(test).kills == 0


def test_a_worker_is_replaced_after_many_jobs() -> None:
    async def test(pool: DecodePool) -> None:
        before = children(zygote())
        for _ in range(MOST_TASKS):
            await pool.decode(action("allocate 1"))
        await until(lambda: len(before & children(zygote())) == 1 and pool.alive == 2)

    with_pool(test)


def test_pools_of_several_threads_do_not_meet() -> None:
    found = []

    def run() -> None:
        async def test(pool: DecodePool) -> None:
            found.append(await pool.decode(job(picture())))

        with_pool(test)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one, other = found
    assert np.array_equal(one, other)


def test_a_closed_pool_decodes_nothing() -> None:
    async def test(pool: DecodePool) -> None:
        waiting = asyncio.create_task(pool.decode(action("wait")))
        await until(lambda: pool.alive == 2)
        await asyncio.sleep(0)
        await pool.close()
        with pytest.raises(NoWorker, match="the service ends"):
            await waiting
        with pytest.raises(NoWorker, match="the service ends"):
            await pool.decode(job(picture()))

    with_pool(test)
