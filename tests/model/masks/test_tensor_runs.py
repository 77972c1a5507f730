"""Runs by tensor operations: those of the pixel-by-pixel code on the host, whatever the sizes, in parts or at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from model.masks import tensor_runs
from model.masks.paste import pasting
from model.masks.runs import Runs, TooDetailed, pasted
from model.masks.tensor_runs import runs_of_masks

WIDTH, HEIGHT = 70, 60
Box = tuple[float, float, float, float]
edges = st.floats(-20, 90, width=32)


def masks(sides: list[int]) -> list[torch.Tensor]:
    """Smooth masks of these sides."""
    torch.manual_seed(len(sides))
    rough = [torch.randn(1, 1, 4, 4) * 4 for _ in sides]
    return [
        F.interpolate(each, size=(side, side), mode="bicubic")[0, 0].sigmoid()
        for each, side in zip(rough, sides, strict=True)
    ]


def together(probabilities: list[torch.Tensor], boxes: list[Box], most: int = 10**6) -> list[Runs]:
    flat = torch.cat([each.flatten() for each in probabilities]) if probabilities else torch.empty(0)
    return runs_of_masks(flat, [len(each) for each in probabilities], boxes, WIDTH, HEIGHT, most)


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([7, 14, 28]), edges, edges, edges, edges), max_size=4),
    st.sampled_from([1, 97, 10**6]),
)
def test_they_are_those_of_the_host(asked: list[tuple[int, float, float, float, float]], places: int) -> None:
    probabilities = masks([side for side, *_ in asked])
    boxes = [(min(a, b), min(c, d), max(a, b), max(c, d)) for _, a, b, c, d in asked]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tensor_runs, "PLACES", places)
        found = together(probabilities, boxes)
    for own, box, runs in zip(probabilities, boxes, found, strict=True):
        expected = pasted(pasting(own.numpy(), box, WIDTH, HEIGHT))
        assert (runs.left, runs.top, runs.width, runs.height) == (
            *(expected.left, expected.top),
            *(expected.width, expected.height),
        )
        assert np.array_equal(runs.ends, expected.ends)


def test_more_runs_than_allowed_are_refused() -> None:
    noise, box = [torch.rand(28, 28), torch.rand(28, 28)], (0.0, 0.0, 60.0, 60.0)
    count = sum(runs.ends.size // 2 for runs in together(noise, [box, box]))
    assert count > 100
    assert len(together(noise, [box, box], count)) == 2
    with pytest.raises(TooDetailed, match=f"more than {count - 1} runs"):
        together(noise, [box, box], count - 1)


def test_nothing_has_no_runs() -> None:
    assert together([], []) == []
    (runs,) = together([torch.ones(7, 7)], [(200.0, 5, 300, 9)])
    assert (runs.width, runs.ends.size) == (0, 0)
