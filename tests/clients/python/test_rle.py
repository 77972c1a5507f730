"""The client reads run lengths as pycocotools does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from model.masks.rle import compress
from pointrend_client.rle import cropped, decoded, run_lengths


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
def test_masks_are_those_that_pycocotools_wrote(seed: int, height: int, width: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    counts = reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(decoded(counts, (height, width)), mask)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=50))
def test_lengths_of_any_size(lengths: list[int]) -> None:
    np.testing.assert_array_equal(run_lengths(compress(np.array(lengths))), lengths)


@given(
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.integers(1, 30)] * 2),
    st.tuples(*[st.integers(0, 12)] * 4),
    st.floats(0, 1),
)
def test_a_crop_has_all_of_the_mask_and_no_more(
    seed: int, inner: tuple[int, int], around: tuple[int, int, int, int], density: float
) -> None:
    (rows, columns), (above, below, before, behind) = inner, around
    mask = np.random.default_rng(seed).random((rows, columns)) < density
    mask = np.pad(mask, ((above, below), (before, behind)))
    counts = reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    crop = cropped(counts, mask.shape)
    whole = np.zeros_like(mask)
    whole[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] = crop.bitmap
    np.testing.assert_array_equal(whole, mask)
    assert crop.lengths.dtype == np.int32 and (crop.lengths[1:] > 0).all()
    if not mask.any():
        assert (crop.left, crop.top, crop.width, crop.height) == (0, 0, 1, 1)
    else:
        edges = crop.bitmap[0], crop.bitmap[-1], crop.bitmap[:, 0], crop.bitmap[:, -1]
        assert all(edge.any() for edge in edges)
