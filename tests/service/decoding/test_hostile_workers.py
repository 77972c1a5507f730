"""A worker in the hands of whoever made the picture: what it cannot do, and what is not believed."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest

from model.predict.image_errors import CorruptImage
from model.predict.images import decode_resized
from service.decoding.pool import DecodePool
from service.decoding.protocol import MOST_MESSAGE, Reply, parsed_reply, reply_bytes
from tests.service.decoding.support import action, children, job, picture, until, with_pool, zygote


def test_the_sandbox_leaves_a_worker_nothing() -> None:
    async def test(pool: DecodePool) -> None:
        if not pool.sandboxed:
            pytest.skip("this kernel has no seccomp filters")
        with pytest.raises(CorruptImage) as error:
            await pool.decode(action("escape"))
        outcomes = json.loads(str(error.value))
        assert len(outcomes) == 17
        assert {name: outcome for name, outcome in outcomes.items() if outcome != "EPERM"} == {}

    with_pool(test)


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[" * 60_000,
        "[1, 2]",
        '{"number": 1, "kind": null}',
        '{"number": 999, "kind": null, "message": ""}',
        '{"number": true, "kind": null, "message": ""}',
        '{"number": 1, "kind": {}, "message": ""}',
        '{"number": 1, "kind": null, "message": "", "shape": [1, 1, 3]}',
        '{"number": 1, "kind": "no-such-kind", "message": "x"}',
    ],
)
def test_a_reply_that_is_none_ends_the_worker(line: str) -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(CorruptImage, match="^the JPEG image is damaged"):
            await pool.decode(action(f"say {line}\n"))
        await pool.decode(job(picture()))

    with_pool(test)


def test_a_reply_without_end_is_not_read_on() -> None:
    async def test(pool: DecodePool) -> None:
        with pytest.raises(CorruptImage):
            await pool.decode(action("flood"))
        await pool.decode(job(picture()))

    assert with_pool(test).kills == 1


def test_a_second_reply_is_not_that_of_the_next_picture() -> None:
    async def test(pool: DecodePool) -> None:
        early = '{"number": 1, "kind": null, "message": ""}\n{"number": 2, "kind": null, "message": ""}\n'
        with pytest.raises(CorruptImage):
            await pool.decode(action(f"say {early}"))
        assert (await pool.decode(job(picture()))).any()

    with_pool(test)


def test_a_worker_that_says_more_than_it_was_asked_is_replaced() -> None:
    async def test(pool: DecodePool) -> None:
        before = children(zygote())
        with suppress(CorruptImage):  # if both replies, the forged one and its own, are read at once
            await pool.decode(action('say {"number": 1, "kind": null, "message": ""}\n'))
        work = job(picture())
        link = await pool._running()
        await until(lambda: len(before & children(zygote())) == 1 or not all(w.usable() for w in link.idle))
        assert np.array_equal(await pool.decode(work), decode_resized(work.data, work.header, work.size))
        await until(lambda: len(before & children(zygote())) == 1)

    assert with_pool(test).crashes == 0


def test_a_reply_says_what_was_said() -> None:
    for reply in (Reply(1), Reply(2, "corrupt-image", "the image is damaged")):
        assert parsed_reply(reply_bytes(reply)) == reply


def test_a_message_is_one_short_line() -> None:
    text = "one\ntwo\x1b[31m" + "x" * 10_000
    assert parsed_reply(json.dumps({"number": 1, "kind": "k", "message": text}).encode()) == Reply(
        1, "k", ("onetwo[31m" + "x" * 10_000)[:MOST_MESSAGE]
    )
