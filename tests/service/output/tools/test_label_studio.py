"""Format `label_studio`, byte for byte that of Label Studio's own encoder."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.predict.instance import Instances, Mask
from service.output.format import Found
from service.output.tools import label_studio
from tests.service.output.test_encode import found
from tests.service.output.tools.regions_of_noise import CASES, CATEGORIES, answer, bitmaps, classes, instances


def decoded(packed: list[int]) -> NDArray[np.uint8]:
    """Return the values of Label Studio's run lengths, by the rules of its decoder."""
    bits = np.unpackbits(np.array(packed, np.uint8)).tolist()
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int("".join(map(str, bits[place - count : place])), 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(bits) - place <= 8
    return np.array(values, np.uint8)


def same(case: Found, decode: Any) -> None:
    prediction = answer(case, "label_studio")
    assert prediction["model_version"] == case.model
    for region, (index, bitmap) in zip(prediction["result"], bitmaps(case), strict=True):
        assert region["value"]["brushlabels"] == [CATEGORIES[index].name]
        assert (region["original_width"], region["original_height"]) == (case.width, case.height)
        pixels = np.reshape(decode(region["value"]["rle"]), (case.height, case.width, 4))
        np.testing.assert_array_equal(pixels, np.repeat(bitmap[:, :, None], 4, 2) * 255)
    ids = [region["id"] for region in prediction["result"]]
    assert len(set(ids)) == len(ids)


@settings(deadline=None, max_examples=40)
@given(*CASES)
def test_masks_are_their_pixels(drawn: Any, width: int, height: int) -> None:
    same(instances(drawn, width, height), decoded)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_classes_are_their_pixels(width: int, height: int, seed: int) -> None:
    same(classes(width, height, seed), decoded)


def test_long_runs_and_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of more values than one may have, and runs that come in several parts, are what they were."""
    whole = Mask(0, 0.5, np.array([0, 0, 400, 300], np.float32), torch.full((7, 7), 9.0), None, False)
    striped = torch.tensor([9.0, -9.0]).repeat(14)[:, None].repeat(1, 28)
    stripes = Mask(1, 0.5, np.array([100, 10, 300, 290], np.float32), striped, None, False)
    case = found(Instances((whole, stripes)), 400, 300)
    expected = answer(case, "label_studio")
    same(case, decoded)
    monkeypatch.setattr(label_studio, "_PART", 7)
    assert answer(case, "label_studio") == expected


@pytest.mark.parametrize("seed", range(5))
def test_label_studio_s_own_encoder_writes_the_same_bytes(seed: int) -> None:
    brush = _brush()
    drawn: Any = [(28, (3.0, 5.0, 40.0, 30.0), seed, -3.0), (7, (0.0, 0.0, 200.0, 150.0), seed + 1, -3.0)]
    for case in (instances(drawn, 200, 150), classes(60, 50, seed)):
        same(case, brush.decode_rle)
        for region, (_, bitmap) in zip(answer(case, "label_studio")["result"], bitmaps(case), strict=True):
            assert region["value"]["rle"] == brush.mask2rle(bitmap.astype(np.uint8) * 255)


def _brush() -> Any:
    for name in ("label_studio_sdk.converter.brush", "label_studio_converter.brush"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return pytest.skip("neither label-studio-sdk nor label-studio-converter is installed")
