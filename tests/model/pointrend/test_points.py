"""Points: identities with independent operators, edges of the domain, and nothing at all."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import roi_align

from model.pointrend.points import (
    biased_random_points,
    cell_centres,
    class_uncertainty,
    draw_candidates,
    inner_neighbours,
    most_uncertain,
    neighbours,
    regular_grid,
    sample,
    sample_bitmaps,
    to_image,
    top2_uncertainty,
)

quick = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**31)
sides = st.integers(1, 9)


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@quick
@given(seeds, st.integers(4, 12), st.integers(4, 12), sides)
def test_a_regular_grid_is_roi_align_with_one_sample_a_cell(
    seed: int, height: int, width: int, side: int
) -> None:
    """For boxes whose reads stay between cell centres; at the rim the two differ on purpose."""
    maps = noise(seed, 1, 3, height, width)
    size = torch.tensor([width, height, width, height])
    corners = torch.rand(5, 2, 2, generator=torch.Generator().manual_seed(seed)).sort(1).values
    boxes = 0.5 + corners.flatten(1) * (size - 1)
    unit = to_image(regular_grid(side).expand(5, -1, 2), boxes) / size[:2]
    found = sample(maps.expand(5, -1, -1, -1), unit).unflatten(2, (side, side))
    aligned = roi_align(maps, [boxes], side, 1.0, 1, True)
    torch.testing.assert_close(found, aligned, atol=1e-4, rtol=1e-4)


@quick
@given(seeds, sides, sides, st.integers(1, 90))
def test_the_most_uncertain_cells_read_back_where_they_lie(
    seed: int, height: int, width: int, count: int
) -> None:
    doubt = noise(seed, 3, height, width)
    cells, centres = most_uncertain(doubt, count)
    assert cells.shape == (3, min(count, height * width))
    assert all(len(set(row.tolist())) == len(row) for row in cells)
    values = doubt.flatten(1).gather(1, cells)
    assert torch.equal(sample(doubt[:, None], centres, mode="nearest")[:, 0], values)
    # Scattered back, nothing else is more uncertain.
    rest = doubt.flatten(1).scatter(1, cells, float("-inf"))
    assert bool((rest.amax(1) <= values.amin(1)).all())


@quick
@given(sides, sides)
def test_the_centres_of_all_cells_are_the_grid(height: int, width: int) -> None:
    centres = cell_centres(torch.arange(height * width), height, width)
    assert torch.equal((centres * torch.tensor([width, height]) - 0.5).round().long()[:, 0] % width,
                       torch.arange(height * width) % width)  # fmt: skip
    maps = noise(0, 1, 1, height, width)
    torch.testing.assert_close(sample(maps, centres[None])[0, 0], maps.flatten(), atol=1e-5, rtol=0)
    if height == width:
        torch.testing.assert_close(centres, regular_grid(height))


@quick
@given(seeds, sides, sides)
def test_four_neighbours_and_their_weights_are_grid_sample(seed: int, height: int, width: int) -> None:
    maps = noise(seed, 1, 1, height, width)
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(200, generator=generator) * (width + 6) - 3
    y = torch.rand(200, generator=generator) * (height + 6) - 3
    x[:4], y[:4] = torch.tensor([0.0, width, 0.5, -0.5]), torch.tensor([0.0, height, 0.5, 0.5])
    cells, weights = neighbours(x, y, height, width)
    found = (maps.flatten()[cells] * weights).sum(-1)
    expected = sample(maps, torch.stack([x / width, y / height], -1)[None])[0, 0]
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@quick
@given(seeds)
def test_bitmaps_read_like_float_maps_and_nothing_lies_outside(seed: int) -> None:
    bitmaps = (noise(seed, 3, 7, 5) > 0).to(torch.uint8)
    index = torch.tensor([2, 0, 0, 1])
    positions = noise(seed + 1, 4, 30, 2) * 6 + 3
    found = sample_bitmaps(bitmaps, index, positions)
    expected = sample(bitmaps[index][:, None].float(), positions / torch.tensor([5.0, 7.0]))[:, 0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    outside = torch.tensor([[-0.5, 3.0], [5.5, 3.0], [2.0, -0.5], [2.0, 7.5], [-1e6, 1e6]])
    ones = torch.ones_like(bitmaps).bool()
    assert sample_bitmaps(ones, index[:1], outside[None]).abs().max() == 0
    assert sample_bitmaps(ones, index[:1], torch.tensor([[[0.0, 3.0], [0.5, 3.0]]])).tolist() == [[0.5, 1]]


@pytest.mark.parametrize(
    ("count", "oversample", "importance", "candidates", "covers"),
    [(196, 3.0, 0.75, 588, 49), (196, 1.0, 0.0, 196, 196), (10, 2.5, 0.99, 25, 1), (7, 3.0, 1.0, 21, 0)],
)
def test_draws(count: int, oversample: float, importance: float, candidates: int, covers: int) -> None:
    def draw() -> tuple[Tensor, Tensor]:
        return draw_candidates(2, count, oversample, importance, torch.Generator().manual_seed(3))

    drawn = draw()
    assert [d.shape for d in drawn] == [(2, candidates, 2), (2, covers, 2)]
    assert all(torch.equal(a, b) for a, b in zip(drawn, draw(), strict=True))
    assert all(bool(((d >= 0) & (d < 1)).all()) for d in drawn)
    assert not torch.equal(drawn[0][0], drawn[0][1])


@pytest.mark.parametrize(("oversample", "importance"), [(0.9, 0.5), (3, -0.1), (3, 1.1)])
def test_impossible_draws_are_refused(oversample: float, importance: float) -> None:
    with pytest.raises(ValueError, match="oversample ≥ 1"):
        draw_candidates(1, 4, oversample, importance)


def test_biased_points_are_the_candidates_nearest_the_contour_then_the_cover() -> None:
    """Logits rise from left to right through 0 in the middle."""
    coarse = torch.linspace(-3, 3, 8).expand(1, 1, 8, 8)
    candidates, cover = draw_candidates(1, 40, 3, 0.75, torch.Generator().manual_seed(0))
    found = biased_random_points(coarse, candidates, cover, 40, class_uncertainty)
    assert torch.equal(found[:, 30:], cover)
    distance = (candidates[0, :, 0] - 0.5).abs().sort().values[29]
    assert float((found[0, :30, 0] - 0.5).abs().max()) <= float(distance) + 1e-6


def test_logits_are_interpolated_before_they_are_judged() -> None:
    """Between a sure foreground and a sure background cell lies the contour."""
    coarse = torch.tensor([[[[-5.0, 5.0]]]])
    candidates = torch.tensor([[[0.5, 0.5], [0.25, 0.5], [0.75, 0.5]]])
    found = biased_random_points(coarse, candidates, candidates[:, :0], 1, class_uncertainty)
    assert found.tolist() == [[[0.5, 0.5]]]


def test_top2_uncertainty_is_highest_where_two_classes_tie() -> None:
    logits = torch.tensor([[1.0, 1.0, -4.0], [5.0, -5.0, 0.0]])[..., None]
    assert top2_uncertainty(logits).flatten().tolist() == [0.0, -5.0]


def test_no_regions() -> None:
    none = torch.zeros(0, 4)
    assert sample(torch.zeros(0, 2, 7, 7), torch.zeros(0, 5, 2)).shape == (0, 2, 5)
    assert sample(torch.zeros(2, 3, 7, 7), torch.zeros(2, 0, 2)).shape == (2, 3, 0)
    assert to_image(torch.zeros(0, 5, 2), none).shape == (0, 5, 2)
    assert [t.shape for t in most_uncertain(torch.zeros(0, 8, 8), 5)] == [(0, 5), (0, 5, 2)]
    drawn = draw_candidates(0, 20, 3, 0.75)
    assert biased_random_points(torch.zeros(0, 1, 7, 7), *drawn, 20, class_uncertainty).shape == (0, 20, 2)
    assert sample_bitmaps(torch.ones(2, 8, 8), torch.zeros(0).long(), torch.zeros(0, 5, 2)).shape == (0, 5)
    assert sample_bitmaps(torch.ones(0, 8, 8), torch.zeros(0).long(), torch.zeros(0, 5, 2)).shape == (0, 5)
    assert [t.shape for t in neighbours(none[:, 0], none[:, 1], 4, 4)] == [(0, 4), (0, 4)]
    assert top2_uncertainty(torch.zeros(0, 3, 4, 4)).shape == (0, 1, 4, 4)


def test_reads_match_grid_sample_with_zero_padding() -> None:
    """A map of ones fades to zero within half a cell of its edge."""
    ones = torch.ones(1, 1, 4, 4)
    unit = torch.tensor([[[0.0, 0.5], [0.125, 0.5], [-0.125, 0.5], [1.0, 1.0]]])
    assert sample(ones, unit)[0, 0].tolist() == pytest.approx([0.5, 1.0, 0.0, 0.25])
    assert torch.equal(
        sample(ones, unit), F.grid_sample(ones, 2 * unit[:, None] - 1, align_corners=False)[:, :, 0]
    )


def test_neighbours_of_positions_inside_a_map_are_the_same() -> None:
    positions = 0.5 + torch.rand(3, 40, 2, generator=torch.Generator().manual_seed(0)) * 5
    positions[0, 0] = 0.5  # the centre of the first cell
    expected = neighbours(positions[..., 0], positions[..., 1], 7, 7)
    for found, wanted in zip(inner_neighbours(positions, 7), expected, strict=True):
        torch.testing.assert_close(found, wanted)
