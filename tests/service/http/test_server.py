"""Over a real socket: many clients at once, and clients that leave."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pytest
from torch import Tensor

from export.bundle import Bundle
from tests.service.support import (
    PATIENCE,
    POISON,
    Discs,
    beginning,
    disc_bundle,
    encoded,
    get,
    metrics,
    picture,
    running,
    wait_for,
)


def post(url: str, image: bytes, **params: Any) -> httpx.Response:
    headers = {"content-type": "image/png"}
    return httpx.post(
        f"{url}/segment", content=image, params=params, headers=headers, timeout=PATIENCE, verify=False
    )


def post_together(
    url: str, gate: threading.Event, images: Sequence[bytes], **params: Any
) -> list[httpx.Response]:
    """All of them wait for the device, which is busy with another one (and its other size), before any begins."""
    gate.clear()
    with ThreadPoolExecutor(1) as other:
        busy = other.submit(post, url, encoded(picture(60, 180)))
        wait_for(lambda: waiting(url, "coarse") == 1)
        with ThreadPoolExecutor(len(images)) as clients:
            answers = [clients.submit(post, url, image, **params) for image in images]
            wait_for(lambda: waiting(url, "queue") == len(images))
            gate.set()
            assert busy.result().status_code == 200
            return [answer.result() for answer in answers]


def waiting(url: str, stage: str) -> int:
    """Requests in a stage of the scheduler."""
    lines = metrics(url).splitlines()
    return sum(
        int(float(line.split()[-1]))
        for line in lines
        if line.startswith("pointrend_queue_requests{") and f'stage="{stage}"' in line
    )


def ready(url: str) -> bool:
    return get(f"{url}/readyz").is_success


def masks(response: httpx.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    found: list[Any] = response.json()["instances"]
    return found


def test_clients_share_a_batch_and_get_their_own_masks(discs: Discs) -> None:
    images = [encoded(picture(brightness=value)) for value in (40, 120, 220)]
    with running(disc_bundle(discs)) as url:
        discs.batches.clear()
        together = [masks(response) for response in post_together(url, discs.gate, images)]
        assert discs.batches == [1, 3]
        alone = [masks(post(url, image)) for image in images]
    assert together == alone
    assert len({each[0]["area"] for each in together}) == 3


def test_different_sizes_do_not_share(discs: Discs) -> None:
    wide, tall = encoded(picture(120, 80)), encoded(picture(80, 120))
    with running(disc_bundle(discs)) as url:
        discs.batches.clear()
        for response in post_together(url, discs.gate, [wide, tall, wide, tall]):
            assert len(masks(response)) == 2
    assert discs.batches == [1, 2, 2]


def test_a_batch_gives_what_single_requests_give(tiny: Bundle) -> None:
    """With the real renderer, at several resolutions in one batch."""
    runs: list[int] = []
    gate = threading.Event()
    gate.set()

    def counting(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        runs.append(len(inputs["image"]))
        assert gate.wait(PATIENCE)
        return tiny.predictor.run(inputs)

    bundle = replace(tiny, predictor=replace(tiny.predictor, run=counting))
    noise = np.random.default_rng(0)
    images = [encoded(noise.integers(0, 255, (128, 128, 3), np.uint8)) for _ in range(2)]
    asked = {"score": 0.0, "max_instances": 4, "resolution": 112}
    with running(bundle) as url:
        runs.clear()
        together = [masks(response) for response in post_together(url, gate, images, **asked)]
        assert runs == [1, 2]
    with running(bundle, batch_pixels=1) as url:
        alone = [masks(post(url, image, **asked)) for image in images]
    for pair, single in zip(together, alone, strict=True):
        assert len(pair) == len(single) == 4
        for a, b in zip(pair, single, strict=True):
            assert a["category"] == b["category"]
            assert a["score"] == pytest.approx(b["score"], abs=1e-5)
            assert a["bbox"] == pytest.approx(b["bbox"], abs=1e-2)
            assert a["area"] == pytest.approx(b["area"], rel=0.01, abs=3)


def test_a_bad_image_fails_alone(discs: Discs) -> None:
    poison = np.full((80, 120, 3), POISON, np.uint8)
    images = [encoded(picture()), encoded(poison), encoded(picture())]
    with running(disc_bundle(discs)) as url:
        discs.batches.clear()
        answers = post_together(url, discs.gate, images)
        assert sorted(response.status_code for response in answers) == [200, 200, 500]
        assert answers[1].status_code == 500
    assert discs.batches[:2] == [1, 3]  # then its halves


def test_a_full_queue_says_when_to_come_back(discs: Discs) -> None:
    with running(disc_bundle(discs), queue_length=2, batch_pixels=1) as url:
        discs.gate.clear()
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(post, url, encoded(picture())) for _ in range(4)]
            try:
                wait_for(lambda: any(each.done() for each in asked))  # the device is held, so it was refused
            finally:
                discs.gate.set()
            answers = [each.result() for each in asked]
        assert {each.status_code for each in answers} == {200, 429}
        refused = next(each for each in answers if each.status_code == 429)
        assert refused.json()["type"] == "/problems/queue-full"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert post(url, encoded(picture())).status_code == 200


@pytest.mark.parametrize(
    ("limit", "query", "kind", "status"),
    [
        (10**3, "", "image/png", 413),
        (10**8, "", "application/xml", 415),
        (10**8, "?score=7", "image/png", 422),
    ],
)
def test_a_refused_body_does_not_hide_the_answer(
    discs: Discs, limit: int, query: str, kind: str, status: int
) -> None:
    """Clients that send everything before they read would otherwise see a reset connection."""
    with running(disc_bundle(discs), max_body_bytes=limit) as url:
        headers = {"content-type": kind}
        for _ in range(3):
            request = urllib.request.Request(url + "/segment" + query, bytes(20_000_000), headers)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request, timeout=PATIENCE)
            with refused.value as answered:
                assert answered.status == status
                assert answered.headers["content-type"] == "application/problem+json"


def test_a_client_that_leaves_is_dropped(discs: Discs) -> None:
    """Of three requests the second leaves while the first is on the device: it never gets there."""
    with running(disc_bundle(discs), batch_pixels=1) as url:
        discs.batches.clear()
        discs.gate.clear()
        with ThreadPoolExecutor(2) as clients:
            first = clients.submit(post, url, encoded(picture()))
            wait_for(lambda: discs.batches)
            with beginning(url, len(body := encoded(picture()))) as second:
                second.sendall(body)
                wait_for(lambda: waiting(url, "queue") == 1)
            last = clients.submit(post, url, encoded(picture()))
            wait_for(lambda: 'status="499"' in metrics(url))
            discs.gate.set()
            assert (first.result().status_code, last.result().status_code) == (200, 200)
    assert discs.batches == [1, 1]
