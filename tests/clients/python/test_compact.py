"""Masks for supervision and FiftyOne: the same pixels, without bitmaps of the whole picture."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest

from model.masks.rle import compress
from pointrend_client import Segmentation
from pointrend_client.results import parse
from tests.clients.python.test_results import COMMON, INSTANCE, SEGMENT

WIDTH, HEIGHT, MASKS = 4000, 3000, 40  # 12 megapixels


def disc(x: int, y: int, radius: int) -> str:
    """Return the run lengths of a disc, whose columns are found one by one."""
    columns = np.arange(max(0, x - radius), min(WIDTH, x + radius))
    half = np.sqrt(radius**2 - (columns - x) ** 2.0)
    tops, bottoms = np.clip(y - half, 0, HEIGHT).astype(int), np.clip(y + half, 0, HEIGHT).astype(int)
    ends = np.stack((columns * HEIGHT + tops, columns * HEIGHT + bottoms), 1).ravel()
    return compress(np.diff(np.append(ends, WIDTH * HEIGHT), prepend=0))


@pytest.fixture(scope="module")
def found() -> Segmentation:
    pytest.importorskip("supervision", reason="supervision is not installed")
    draw = np.random.default_rng(0)
    discs = [disc(int(draw.integers(WIDTH)), int(draw.integers(HEIGHT)), 40 + 20 * i) for i in range(MASKS)]
    instances = [
        {**INSTANCE, "segmentation": {"size": [HEIGHT, WIDTH], "counts": counts}} for counts in discs
    ]
    return parse({**COMMON, "width": WIDTH, "height": HEIGHT, "instances": instances})


def test_forty_masks_of_twelve_megapixels_take_a_twentieth_at_most(found: Segmentation) -> None:
    found.detections()  # imports are not counted
    tracemalloc.start()
    try:
        detections = found.detections()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    dense = MASKS * WIDTH * HEIGHT  # bytes of found.masks()
    assert held <= peak <= dense / 20
    assert detections.mask is not None and detections.mask.shape == (MASKS, HEIGHT, WIDTH)
    for number, instance in enumerate(found.instances):
        mask = np.asarray(detections.mask[number])
        assert mask.any()
        np.testing.assert_array_equal(mask, instance.mask)


def test_what_supervision_makes_of_them(found: Segmentation) -> None:
    detections = found.detections()
    large: Any = detections[np.array(detections.area) > 1e6]
    expected = [instance for instance in found.instances if instance.mask.sum() > 1e6]
    assert 0 < len(large) == len(expected) < MASKS
    np.testing.assert_array_equal(np.asarray(large.mask[0]), expected[0].mask)


@pytest.mark.parametrize("old", ["absent", "along the rows"])
def test_older_versions_get_bitmaps(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = pytest.importorskip("supervision.detection.compact_mask", reason="supervision is not installed")

    if old == "absent":
        monkeypatch.setitem(sys.modules, "supervision.detection.compact_mask", None)
    else:
        rows = lambda mask: module.CompactMask.to_dense(mask).transpose(0, 2, 1)  # noqa: E731
        monkeypatch.setattr(module.CompactMask, "__array__", lambda mask, *_, **__: rows(mask))
    segments = parse({**COMMON, "segments": [SEGMENT]})
    mask = segments.detections().mask
    assert isinstance(mask, np.ndarray) and np.array_equal(mask, segments.masks())


def test_fiftyone_gets_the_bitmap_of_a_box() -> None:
    """Its documented form: a box as left, top, width and height in parts of the picture, and a mask of the box."""
    (instance,) = parse({**COMMON, "instances": [INSTANCE]}).fiftyone_detections()
    mask = instance.pop("mask")
    assert mask.dtype == bool and mask.tolist() == [[True], [True]]
    assert instance == {"label": "disc", "bounding_box": [1 / 3, 0, 1 / 3, 1], "confidence": 0.9}
    (segment,) = parse({**COMMON, "segments": [SEGMENT]}).fiftyone_detections()
    assert "confidence" not in segment and segment["label"] == "road"


def test_fiftyone_s_own_masks_are_the_same() -> None:
    fiftyone = pytest.importorskip("fiftyone", reason="fiftyone is not installed")
    draw = np.random.default_rng(0)
    for width, height in ((3, 2), (61, 47), (640, 333)):
        mask = np.zeros((height, width), bool)
        mask[height // 3 :, width // 3 :] = draw.random((height - height // 3, width - width // 3)) < 0.3
        mask[-1, -1] = True
        counts = compress(
            np.diff(np.flatnonzero(np.diff(mask.T.ravel(), prepend=False, append=False)), prepend=0)
        )
        runs = {"size": [height, width], "counts": counts}
        answer = {
            **COMMON,
            "width": width,
            "height": height,
            "instances": [{**INSTANCE, "segmentation": runs}],
        }
        found = parse(answer)
        np.testing.assert_array_equal(found.instances[0].mask, mask)
        detection = fiftyone.Detection(**found.fiftyone_detections()[0])
        whole = detection.to_segmentation(frame_size=(width, height)).mask
        np.testing.assert_array_equal(whole > 0, mask)
