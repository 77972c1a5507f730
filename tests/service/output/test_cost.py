"""Forecasts of encoding: at least the memory that it takes, and more for more."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.masks.palette import default_palette
from model.pointrend.label_map_pyramid import Pyramid
from model.predict.instance import Instances, Mask
from model.predict.label_map import LabelMap
from service.output.cost import (
    EncodeCost,
    LabelMapShape,
    MaskShape,
    encode_forecast,
    label_map_forecast,
    shapes_forecast,
)
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import FORMATS, names
from service.output.limits import MAX_BOX_PIXELS, MAX_RUNS, AnswerTooLarge
from tests.service.output.test_formats import CATEGORIES

EDITED = "label_studio_polygon"  # has less room, because its polygons are simplified
WHOLE = (0.0, 0.0, 2000.0, 1500.0)


def instances(logits: torch.Tensor, count: int, box: tuple[float, ...] = WHOLE) -> Instances:
    return Instances((Mask(0, 0.5, np.array(box, np.float32), logits, None, False),) * count)


def noise(side: int) -> torch.Tensor:
    return torch.randn(side, side, generator=torch.Generator().manual_seed(side))


def noise_picture(width: int, height: int) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def used(format: str, task: str, result: Any, width: int, height: int) -> int:
    """Return the bytes that encoding takes at most, as far as Python and numpy ask for them."""
    tracemalloc.start()
    found = Found(
        request_id="1",
        model="m",
        task=task,
        categories=CATEGORIES,
        palette=default_palette(3),
        width=width,
        height=height,
        result=result,
        pixels=noise_picture(width, height) if FORMATS[format].needs_pixels else None,
    )
    try:
        encode(found, FORMATS[format], {}, 0.0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", names("instance"))
@pytest.mark.parametrize(("side", "count"), [(28, 2), (224, 2), (448, 1)])
def test_masks_take_less_than_forecast(name: str, side: int, count: int) -> None:
    result = instances(noise(side), count)
    forecast = encode_forecast(name, "instance", result, 2000, 1500)
    if name == EDITED and side > 28:
        with pytest.raises(AnswerTooLarge, match="too long for polygons"):
            used(name, "instance", result, 2000, 1500)
        return
    taken = used(name, "instance", result, 2000, 1500)
    assert taken <= forecast.bytes <= 1.6 * taken + 12e6
    before = shapes_forecast(name, [MaskShape(WHOLE, side)] * count, 2000, 1500)
    assert forecast.bytes <= 1.3 * before.bytes


@pytest.mark.parametrize("name", names("semantic"))
@pytest.mark.parametrize("cells", [4, 150])
def test_label_maps_take_less_than_forecast(name: str, cells: int) -> None:
    base = torch.randn(3, cells, cells, generator=torch.Generator().manual_seed(1))
    result = LabelMap(Pyramid(base), (900, 1000), None, None, False)
    forecast = encode_forecast(name, "semantic", result, 1000, 900)
    if name == EDITED and cells > 100:
        with pytest.raises(AnswerTooLarge, match="too long for polygons"):
            used(name, "semantic", result, 1000, 900)
        return
    assert used(name, "semantic", result, 1000, 900) <= forecast.bytes
    before = label_map_forecast(name, LabelMapShape((900, 1000), 3), 1000, 900)
    assert forecast.bytes <= before.bytes


@pytest.mark.parametrize("name", names("instance"))
def test_more_takes_more(name: str) -> None:
    """More masks, larger ones, and longer outlines; the size of a box counts in the image alone."""

    def cost(side: int, count: int, box: tuple[float, ...] = WHOLE) -> EncodeCost:
        return encode_forecast(name, "instance", instances(noise(side), count, box), 2000, 1500)

    one = cost(56, 1)
    for more in (cost(112, 1), cost(56, 3)):
        assert more.bytes > one.bytes and more.seconds > one.seconds
    smaller = cost(56, 1, (-1e6, 0, 300, 300))
    assert smaller.seconds < one.seconds and smaller.bytes < one.bytes
    nothing = encode_forecast(name, "instance", Instances(()), 2000, 1500)
    assert nothing.seconds < one.seconds and nothing.bytes < one.bytes


# A cut-out needs the image's pixels, and holds as many of its own.
MOST = {"cutout": (700e6, 45.0)}


@pytest.mark.parametrize("name", names("instance"))
def test_no_permitted_answer_takes_more_than_400_mb_or_5_s(name: str) -> None:
    most_bytes, most_seconds = MOST.get(name, (400e6, 5.0))
    boxes = [MaskShape((0, 0, 8000, 8000), 896)] * (MAX_BOX_PIXELS // 8000**2)
    forecast = shapes_forecast(name, boxes, 8000, 8000)
    assert forecast.bytes < most_bytes
    most = instances(noise(896), len(boxes), (0, 0, 8000, 8000))
    cost = encode_forecast(name, "instance", most, 8000, 8000)
    assert cost.bytes < most_bytes and cost.seconds < most_seconds


def test_a_label_map_of_the_largest_picture() -> None:
    for name in names("semantic"):
        forecast = label_map_forecast(name, LabelMapShape((4096, 8192), 19), 8192, 7812)
        assert forecast.bytes < 64e6 + 400e6
    assert MAX_RUNS < 8192 * 7812
