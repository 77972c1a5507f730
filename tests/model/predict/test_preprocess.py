"""From decoded images to the network's input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config.parts import Preprocessing
from model.predict.preprocess import network_input
from model.predict.resize import padded_size, resize, resized_size

BGR = Preprocessing(mean=(1.0, 2.0, 3.0), std=(2.0, 4.0, 8.0), short_edge=40, long_edge=90)
RGB = Preprocessing("RGB", (1.0, 2.0, 3.0), (2.0, 4.0, 8.0))


def picture(height: int, width: int, *rgb: int) -> torch.Tensor:
    return torch.tensor(rgb, dtype=torch.uint8)[:, None, None].expand(3, height, width)


def test_channels_are_ordered_then_normalised() -> None:
    image = picture(4, 4, 101, 52, 33)
    for config, order in ((RGB, (101, 52, 33)), (BGR, (33, 52, 101))):
        batch, _ = network_input([image], config)
        expected = [(v - m) / s for v, m, s in zip(order, config.mean, config.std, strict=True)]
        assert batch[0, :, 0, 0].tolist() == pytest.approx(expected)


def test_padding_is_zero_after_normalisation_and_to_the_largest() -> None:
    batch, sizes = network_input([picture(30, 65, 9, 9, 9), picture(40, 20, 9, 9, 9)], BGR)
    assert batch.shape == (2, 3, 64, 96) and batch.dtype == torch.float32
    assert sizes.tolist() == [[30, 65], [40, 20]] and sizes.dtype == torch.float32
    for image, (height, width) in zip(batch, [(30, 65), (40, 20)], strict=True):
        assert bool((image[:, :height, :width] != 0).all())
        assert not image[:, height:].any() and not image[:, :, width:].any()


def test_a_batch_of_equal_padded_size_is_its_images() -> None:
    images = [picture(30, 60, 1, 2, 3), picture(32, 64, 7, 8, 9)]
    together = network_input(images, BGR)[0]
    assert all(torch.equal(together[i], network_input([image], BGR)[0][0]) for i, image in enumerate(images))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (800, 1067)),
        ((640, 480), (1067, 800)),
        ((500, 333), (1201, 800)),
        ((427, 640), (800, 1199)),
        ((400, 1200), (444, 1333)),
        ((1, 5000), (0, 1333)),
        ((800, 800), (800, 800)),
    ],
)
def test_sizes_of_the_reference(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert resized_size(*size, 800, 1333) == expected


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.sampled_from([32, 800]), st.sampled_from([1333, 2048]))
def test_sizes_keep_within_the_edges_and_the_shape(height: int, width: int, short: int, long: int) -> None:
    found = resized_size(height, width, short, long)
    assert max(found) <= long and min(found) <= short
    assert min(found) == short or max(found) == long
    scale = max(found) / max(height, width)
    assert abs(min(found) - min(height, width) * scale) <= 1.01


@given(st.integers(1, 3000), st.integers(1, 3000), st.sampled_from([1, 32, 64]))
def test_padded_sizes_are_the_least_multiples(height: int, width: int, stride: int) -> None:
    for side, padded in zip((height, width), padded_size(height, width, stride), strict=True):
        assert padded % stride == 0 and 0 <= padded - side < stride


def test_resizing_keeps_what_fits_and_never_vanishes() -> None:
    same = np.zeros((40, 60, 3), np.uint8)
    assert resize(same, BGR) is same
    assert resize(np.zeros((20, 30, 3), np.uint8), BGR).shape == (40, 60, 3)
    assert resize(np.zeros((1, 3000, 3), np.uint8), BGR).shape == (1, 90, 3)
    assert resize(np.full((77, 13, 3), 200, np.uint8), BGR).dtype == np.uint8
