"""Sixty-four clients for a minute on a tiny network, a third of which hang up."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bench.load.driver import PlannedRequest
from bench.load.report import peaks
from bench.load.servers import serving
from bench.load.soak import soaked
from tests.parity.goldens import FOLDER
from tests.service.support import encoded

SIZES = ((320, 240), (240, 320), (512, 384))
BOXES = "[[10,10,200,180],[60,40,230,230]]"


def requests() -> list[PlannedRequest]:
    """Return two pictures of three sizes at three resolutions, with detection and with given boxes."""
    found = []
    for name, size in itertools.product(("astronaut", "coffee"), SIZES):
        with Image.open(FOLDER / f"{name}.png") as picture:
            body = encoded(picture.convert("RGB").resize(size), "JPEG")
        for resolution, more in itertools.product((28, 224, "native"), ((), (("boxes", BOXES),))):
            query = (("score", 0.05), ("max_instances", 5), ("resolution", resolution), *more)
            found.append(PlannedRequest("/segment", body, (("content-type", "image/jpeg"),), query))
    return found


@pytest.mark.slow
def test_everything_accepted_is_answered_as_if_alone_and_memory_stays(
    exported: Callable[[str], Path],
) -> None:
    with serving("ours", exported("tiny_r50"), threads=1, queue_length=24) as server:
        found = soaked(server, requests(), clients=64, seconds=60, patience=1.0)
    outcomes = found["outcomes"]
    assert outcomes["failed"] == outcomes["late"] == 0
    assert outcomes["ok"] > 50
    assert outcomes["refused"] > 20
    assert all(told.isdecimal() and int(told) >= 1 for told in found["retry_after"])
    # A client that hangs up before it is admitted, or while its answer is sent, is counted in no stage.
    assert outcomes["left"] > 20
    assert 10 <= sum(found["left_in"].values()) <= outcomes["left"]
    assert found["masks_compared"] > 50
    assert found["worst_mask_difference"] <= 0.01
    first, last = peaks(found["memory"])
    assert last <= 1.05 * first
