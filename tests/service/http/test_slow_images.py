"""An image that takes too long to decode, for the service or for its client."""

from __future__ import annotations

import asyncio

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from model.predict.image_errors import SlowImage
from service.app import create_app
from service.decoding.job import Job
from service.decoding.threads import DecodeThreads
from tests.service.http.test_problems import GOOD, PNG, check
from tests.service.support import Discs, disc_bundle, settings, wait_for


class Decoders(DecodeThreads):
    """Decodes, or waits until it is cancelled or the time of the picture is over."""

    stuck = False

    async def decode(self, job: Job) -> NDArray[np.uint8]:
        if not self.stuck:
            return await super().decode(job)
        try:
            async with asyncio.timeout(job.wall):
                await asyncio.Event().wait()
        except TimeoutError as error:
            raise SlowImage(f"decoding took more than {job.wall:g} s") from error
        raise AssertionError


def test_an_image_that_takes_too_long_to_decode(discs: Discs) -> None:
    decoder = Decoders(1)
    app = create_app(settings(decode_seconds=0.5), [disc_bundle(discs)], decoder=decoder)
    with TestClient(app) as client:
        wait_for(lambda: client.get("/readyz").is_success)
        decoder.stuck = True
        check(client.post("/segment", content=GOOD, headers=PNG), 400, "slow-image", "more than 0.5 s")
        hurried = client.post("/segment?deadline_ms=50", content=GOOD, headers=PNG)
        check(hurried, 504, "deadline", "not even coarse masks")
        decoder.stuck = False
        assert client.post("/segment", content=GOOD, headers=PNG).status_code == 200
