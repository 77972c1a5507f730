"""The runs that are found along the contour are those of all pixels."""

from __future__ import annotations

from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from model.masks import contour_runs
from model.masks.contour_runs import runs_of_logits
from model.masks.paste import pasting
from model.masks.runs import Runs, TooDetailed, pasted

BOX = (3.3, 2.1, 61.4, 49.7)


def logits_of(side: int, coarse: int, seed: int) -> Tensor:
    """Return smooth logits [side, side]: random ones [coarse, coarse], enlarged."""
    values = torch.randn(1, 1, coarse, coarse, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(values, size=(side, side), mode="bilinear")[0, 0] * 4


def by_all_pixels(logits: Tensor, box: tuple[float, ...], width: int, height: int) -> Runs:
    return pasted(pasting(logits.sigmoid().numpy(), box, width, height))


@settings(deadline=None, max_examples=300)
@given(
    st.tuples(*[st.floats(-20, 60, width=32)] * 2, *[st.floats(0.125, 90, width=32)] * 2),
    st.sampled_from([1, 2, 7, 28, 61, 224]),
    st.sampled_from([1, 3, 8, 40]),
    st.sampled_from([1, 50, 1 << 16]),
    st.integers(0, 2**31),
)
def test_runs_are_those_of_all_pixels(
    box: tuple[float, ...], side: int, coarse: int, part: int, seed: int
) -> None:
    x, y, width, height = box
    corners = (x, y, x + width, y + height)
    logits = logits_of(side, coarse, seed)
    expected = by_all_pixels(logits, corners, 50, 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contour_runs, "_MOST", np.inf)  # never by all pixels
        patch.setattr(contour_runs, "_PART", part)
        found = runs_of_logits(logits, corners, 50, 40)
    assert (found.left, found.top) == (expected.left, expected.top)
    assert (found.width, found.height) == (expected.width, expected.height)
    np.testing.assert_array_equal(found.ends, expected.ends)
    np.testing.assert_array_equal(runs_of_logits(logits, corners, 50, 40).ends, expected.ends)


def test_only_pixels_near_the_contour_are_looked_at() -> None:
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 896)] * 2, indexing="ij")
    logits = 50 * (0.8 - torch.hypot(x, y))
    contour = contour_runs._Contour.of(logits, *(contour_runs.axis(896, 0, 800, 1000) for _ in range(2)))
    assert contour.candidates.sum() < 0.03 * 800**2
    found = runs_of_logits(logits, (0, 0, 800, 800), 1000, 1000)
    assert found.area == pytest.approx(np.pi * 320**2, rel=5e-3)
    np.testing.assert_array_equal(found.ends, by_all_pixels(logits, (0, 0, 800, 800), 1000, 1000).ends)


def test_too_many_runs_are_refused() -> None:
    logits = logits_of(61, 8, 0)
    runs = runs_of_logits(logits, BOX, 64, 64).ends.size // 2
    assert runs_of_logits(logits, BOX, 64, 64, most=runs).ends.size == 2 * runs
    with pytest.raises(TooDetailed, match=f"more than {runs - 1} runs"):
        runs_of_logits(logits, BOX, 64, 64, most=runs - 1)


def test_work_is_given_up_within_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def third() -> None:
        calls.append(None)
        if len(calls) == 3:
            raise CancelledError

    monkeypatch.setattr(contour_runs, "_PART", 100)
    monkeypatch.setattr(contour_runs, "_MOST", 1.0)
    with pytest.raises(CancelledError):
        runs_of_logits(logits_of(61, 3, 0), BOX, 64, 64, third)
    assert len(calls) == 3
