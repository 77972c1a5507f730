"""Decoding in threads of this process, for files that can be trusted: those of the command line."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from model.predict.images import decode_resized
from service.decoding.job import Job


class DecodeThreads:
    """A `Decoder` without limits on memory and time: a thread cannot be stopped."""

    def __init__(self, places: int) -> None:
        self._pool = ThreadPoolExecutor(places, "decode")

    async def start(self) -> None:
        """Do nothing: threads start with their first image."""

    async def decode(self, job: Job) -> NDArray[np.uint8]:
        """Return the resized picture [h, w, 3]. Raise ImageError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, decode_resized, job.data, job.header, job.size)

    async def close(self) -> None:
        """Drop the images that are waiting."""
        self._pool.shutdown(wait=False, cancel_futures=True)
