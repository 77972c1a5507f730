"""Format `hugging_face`: pictures of the whole image, whose white pixels are the mask."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.output import limits
from service.output.format import Found
from service.output.limits import AnswerTooLarge
from service.output.tools import hugging_face
from tests.service.output.tools.regions_of_noise import CASES, CATEGORIES, answer, bitmaps, classes, instances


def same(case: Found) -> None:
    for entry, (index, bitmap) in zip(answer(case, "hugging_face"), bitmaps(case), strict=True):
        assert entry["label"] == CATEGORIES[index].name
        assert (entry["score"] is None) == (case.task == "semantic")
        with Image.open(io.BytesIO(base64.b64decode(entry["mask"]))) as picture:
            assert picture.mode == "L"
            np.testing.assert_array_equal(np.array(picture), bitmap * np.uint8(255))


@settings(deadline=None, max_examples=40)
@given(*CASES)
def test_masks_are_their_pixels(drawn: Any, width: int, height: int) -> None:
    same(instances(drawn, width, height))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_classes_are_their_pixels(width: int, height: int, seed: int) -> None:
    same(classes(width, height, seed))


def test_pictures_of_several_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Any = [(28, (3.0, 5.0, 40.0, 30.0), 1, -3.0)]
    monkeypatch.setattr(hugging_face, "_BAND", 150)
    same(instances(drawn, 60, 50))


def test_all_pictures_together_may_have_so_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: Any = [(7, (3.0, 5.0, 40.0, 30.0), seed, -3.0) for seed in range(3)]
    monkeypatch.setattr(limits, "MAX_BOX_PIXELS", 3 * 60 * 50)
    assert len(answer(instances(drawn, 60, 50), "hugging_face")) == 3
    monkeypatch.setattr(limits, "MAX_BOX_PIXELS", 3 * 60 * 50 - 1)
    with pytest.raises(AnswerTooLarge, match="3 masks as pictures of the whole image have 9000 pixels"):
        answer(instances(drawn, 60, 50), "hugging_face")
