"""The runs of pasted masks: those of the whole crop, whatever the tiles; limits, and giving up."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.masks import paste as pasting_module
from model.masks.corners import corners
from model.masks.paste import crop_size, paste, paste_soft, pasting
from model.masks.rle import encode_labels
from model.masks.runs import TooDetailed, pasted, runs_of

NOISE = np.random.default_rng(0).random((28, 28), np.float32)


@settings(deadline=None, max_examples=200)
@given(
    st.tuples(*[st.floats(-20, 60, width=32)] * 2, *[st.floats(0.125, 90, width=32)] * 2),
    st.sampled_from([1, 2, 7, 28, 61]),
    st.sampled_from([0.45, 0.1, 0.5]),
    st.sampled_from([1, 7, 64, 1 << 16]),
    st.sampled_from([0.0, 0.2, 1.0]),
    st.integers(0, 2**32 - 1),
)
def test_tiles_of_any_size_are_the_whole_crop(
    box: tuple[float, ...], side: int, least: float, tile: int, dense: float, seed: int
) -> None:
    """`dense` 0 interpolates whole tiles, 1 only uncertain pixels."""
    x, y, width, height = box
    corners = (x, y, x + width, y + height)
    prob = (least + (1 - least) * np.random.default_rng(seed).random((side, side))).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pasting_module, "_BLOCK", tile)
        patch.setattr(pasting_module, "_DENSE", dense)
        crop, found = paste(prob, corners, 50, 40), pasted(pasting(prob, corners, 50, 40))
    whole = paste_soft(prob, corners, 50, 40)
    np.testing.assert_array_equal(crop.bitmap, whole.probability >= 0.5)
    expected = runs_of(crop)
    assert (found.left, found.top) == (whole.left, whole.top)
    assert (found.width, found.height) == crop.bitmap.shape[::-1] == crop_size(corners, 50, 40)
    np.testing.assert_array_equal(found.ends, expected.ends)
    assert found.area == crop.bitmap.sum()


def test_a_very_long_column_is_pasted_in_parts() -> None:
    prob = np.repeat(np.array([[0.9], [0.1], [0.8]], np.float32), 3, axis=1)
    begun = pasting(prob, (0, 0, 3, 300_000), 3, 300_000)
    assert max(tile.columns.size for tile in begun.tiles()) <= 1 << 16
    runs = pasted(begun)
    np.testing.assert_array_equal(runs.ends, runs_of(paste(prob, (0, 0, 3, 300_000), 3, 300_000)).ends)
    assert runs.ends.size == 12  # two runs in each column


def test_too_many_runs_are_refused() -> None:
    box = (0, 0, 100, 100)
    found = pasted(pasting(NOISE, box, 100, 100))
    runs, turns = found.ends.size // 2, corners(found).x.size
    assert pasted(pasting(NOISE, box, 100, 100), most=runs).ends.size == found.ends.size
    assert corners(found, most=turns).x.size == turns
    with pytest.raises(TooDetailed, match=f"more than {runs - 1} runs"):
        pasted(pasting(NOISE, box, 100, 100), most=runs - 1)
    with pytest.raises(TooDetailed, match=f"more than {turns - 1} corners"):
        corners(found, most=turns - 1)
    labels = np.array([[0, 1], [1, 1]], np.uint8)
    assert len(encode_labels(labels, most=2)) == 2
    with pytest.raises(TooDetailed, match="more than 1 runs"):
        encode_labels(labels, most=1)


def test_work_is_given_up_within_a_mask() -> None:
    """Every tile asks, so a client that leaves is noticed within a mask."""
    calls = []

    def third() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        pasted(pasting(NOISE, (0, 0, 1000, 1000), 1000, 1000), third)
    assert len(calls) == 3


def test_nothing_is_computed_before_it_is_asked_for() -> None:
    def fails(*_: object) -> NDArray[np.bool_]:
        raise AssertionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pasting_module._Sampler, "__call__", fails)
        begun = pasting(NOISE, (0, 0, 10, 10), 10, 10)
        with pytest.raises(AssertionError):
            next(begun.tiles())
