"""Reading features inside boxes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from model.networks.roi import pool_pyramid, sample_grid, with_batch
from model.pointrend.points import regular_grid, sample, to_image


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 7, 14]))
def test_grid_reads_are_pointrends_also_across_the_border(
    seed: int, height: int, width: int, side: int
) -> None:
    """Unit points over the padded input, zeros outside: spec 4.4."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(2, 3, height, width, generator=generator)
    size = 4.0 * torch.tensor([width, height, width, height])
    boxes = (torch.rand(6, 4, generator=generator) * 2 - 0.5) * size
    boxes = torch.cat(
        [torch.minimum(boxes[:, :2], boxes[:, 2:]), torch.maximum(boxes[:, :2], boxes[:, 2:])], 1
    )
    boxes[0] = torch.tensor([-0.1, -0.1, 1.1, 1.1]) * size
    batch = torch.tensor([0, 1, 1, 0, 1, 0])
    unit = to_image(regular_grid(side).expand(6, -1, 2), boxes) / size[:2]
    expected = sample(features[batch], unit).unflatten(2, (side, side))
    found = sample_grid(features, boxes, batch, side, 4)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("read", ["grid", "pyramid"])
def test_no_boxes(read: str) -> None:
    none, batch = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    pyramid = [torch.ones(1, 3, 16 >> i, 16 >> i) for i in range(5)]
    found = (
        sample_grid(pyramid[0], none, batch, 14, 4)
        if read == "grid"
        else pool_pyramid(pyramid, none, batch, 7)
    )
    assert found.shape == (0, 3, *((14, 14) if read == "grid" else (7, 7)))


@pytest.mark.parametrize(
    ("side", "level"),
    [(1, 2), (111.9, 2), (112, 3), (223.9, 3), (224, 4), (447.9, 4), (448, 5), (1000, 5)],
)
def test_a_box_is_read_from_the_level_of_its_size(side: float, level: int) -> None:
    """Each level is filled with its own number; width and height differ but the area counts."""
    pyramid = [torch.full((1, 1, 1024 >> i, 1024 >> i), float(i + 2)) for i in range(5)]
    box = torch.tensor([[10.0, 10, 10 + 2 * side, 10 + side / 2]])
    found = pool_pyramid(pyramid, box, torch.zeros(1), 7)
    assert found.mean() == pytest.approx(level)


def test_mixed_levels_and_images_come_back_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    pyramid = [torch.randn(2, 2, 128 >> i, 128 >> i, generator=generator) for i in range(5)]
    sides = torch.tensor([300.0, 20, 500, 150, 30, 260])
    boxes = torch.cat([torch.full((6, 2), 3.0), sides[:, None] + torch.tensor([[3.0, 3.0]])], 1)
    batch = torch.tensor([1, 0, 0, 1, 1, 0])
    found = pool_pyramid(pyramid, boxes, batch, 3)
    for i, level in enumerate([2, 0, 3, 1, 0, 2]):
        one = with_batch(boxes[i : i + 1], batch[i : i + 1])
        expected = roi_align(pyramid[level], one, 3, 1 / (4 << level), 0, True)
        torch.testing.assert_close(found[i : i + 1], expected)


def test_a_bin_has_as_many_reads_as_asked_for() -> None:
    pyramid = [torch.randn(1, 2, 64 >> i, 64 >> i) for i in range(5)]
    boxes = torch.tensor([[3.0, 5, 103, 80]])  # bins of 3.6 × 2.7 cells
    found = pool_pyramid(pyramid, boxes, torch.zeros(1), 7, samples=2)
    rows = with_batch(boxes, torch.zeros(1))
    torch.testing.assert_close(found, roi_align(pyramid[0], rows, 7, 1 / 4, 2, True))
    assert not torch.allclose(found, pool_pyramid(pyramid, boxes, torch.zeros(1), 7))
