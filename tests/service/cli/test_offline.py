"""Several files at once: none is refused, and none needs more memory than there is for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import service.cli.offline as module
from service.cli.files import ImageFile
from service.cli.offline import offline
from service.http.query.parameters import SegmentQuery
from tests.service.support import Discs, disc_bundle, encoded, picture, settings


@pytest.mark.parametrize("memory", [1e9, 1])
def test_all_files_are_answered_however_little_memory_there_is(
    discs: Discs, tmp_path: Path, memory: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a byte of memory each file is decoded and encoded alone."""
    monkeypatch.setattr(module, "MEMORY", memory)
    files = []
    for number in range(3 * module.IN_FLIGHT):
        file = tmp_path / f"{number}.png"
        file.write_bytes(encoded(picture(1200, 900, brightness=10 * number)))
        files.append(ImageFile(file, number))

    async def answered() -> list[bytes]:
        async with offline(disc_bundle(discs), settings(), SegmentQuery(format="coco")) as engine:
            assert engine.concurrency == module.IN_FLIGHT > 1
            places = asyncio.Semaphore(engine.concurrency)

            async def one(file: ImageFile) -> bytes:
                async with places:
                    return await engine.answer(file)

            return await asyncio.gather(*map(one, files))

    answers = asyncio.run(answered())
    assert [b'"image_id":%d,' % number in answer for number, answer in enumerate(answers)] == [
        number > 0
        for number in range(len(files))  # nothing is to be seen in the first
    ]
    assert discs.batches == [1] * len(files)
