"""The client reads run lengths as pycocotools does."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from model.masks.rle import compress
from pointrend_client.rle import decoded, run_lengths


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
def test_masks_are_those_that_pycocotools_wrote(seed: int, height: int, width: int, density: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < density
    counts = reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(decoded(counts, (height, width)), mask)


@given(st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=50))
def test_lengths_of_any_size(lengths: list[int]) -> None:
    np.testing.assert_array_equal(run_lengths(compress(np.array(lengths))), lengths)
