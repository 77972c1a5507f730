"""Points: which ones PointRend evaluates, and what it reads there. Pure functions without state.

Shapes:  N regions or images · C channels · K classes · H, W map size · P points · S grid side
Coordinates: "unit" points are (x, y) in [0, 1]² over a map or a box; the centre of cell (i, j) of an S×S
grid is ((j + .5) / S, (i + .5) / S). Values outside a map count as 0 (zero padding), so they fade to
zero within half a cell of its edge, as the reference has it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Uncertainty = Callable[[Tensor], Tensor]


def sample(
    maps: Tensor,
    points: Tensor,
    mode: Literal["bilinear", "nearest"] = "bilinear",
    padding: Literal["zeros", "border"] = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """Return the values of `maps` [N, C, H, W] at unit points.

    points: [N, P, 2] or [N, Hg, Wg, 2] → [N, C, P] or [N, C, Hg, Wg].
    """
    flat = points.dim() == 3
    grid = 2 * (points[:, :, None] if flat else points) - 1
    values = F.grid_sample(maps, grid, mode, padding, align_corners)
    return values[..., 0] if flat else values


def regular_grid(side: int, device: torch.device | str = "cpu") -> Tensor:
    """Return the cell centres of a side×side grid, row by row, as unit points [side², 2]."""
    centres = (torch.arange(side, device=device, dtype=torch.float32) + 0.5) / side
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


def class_uncertainty(logits: Tensor) -> Tensor:
    """Return -|logit| of a region's own class, in the same shape: 0 on the contour, negative where it is certain."""
    return logits.abs().neg_()  # in place: a level of 896 × 896 takes a third of the time


def top2_uncertainty(logits: Tensor) -> Tensor:
    """Return the second best minus the best logit over the classes: [N, K, ...] → [N, 1, ...], at most 0. No gradient.

    This is the uncertainty of label maps (paper section 5).
    """
    # This is several times faster than topk, which sorts the classes of each cell separately.
    first, *others = logits.detach().unbind(1)
    best, second, spare = first.clone(), torch.full_like(first, -torch.inf), torch.empty_like(first)
    for other in others:
        torch.maximum(second, torch.minimum(best, other, out=spare), out=second)
        torch.maximum(best, other, out=best)
    return (second - best)[:, None]


def most_uncertain(uncertainty: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` most uncertain cells of each map, or all of them if there are fewer.

    uncertainty: [N, H, W] → flat cell indices [N, P] int64, and their centres as unit points [N, P, 2].
    Which of several equally uncertain cells are chosen is not defined.
    """
    height, width = uncertainty.shape[-2:]
    count = min(height * width, count)
    # The best cells lie in the best blocks, of which there are no more than cells: selecting blocks first sorts a
    # fraction of the values. Measured: three times as fast with these sizes of blocks, and slower with larger ones.
    block = next(
        (b for b in (4, 2) if height * width >= 8 * b**2 * count and height % b == width % b == 0), 1
    )
    if block == 1:
        cells = uncertainty.flatten(1).topk(count, dim=1, sorted=False).indices
    else:
        rows = uncertainty.reshape(-1, height // block, block, width).amax(2)
        blocks = rows.view(-1, height // block, width // block, block).amax(3)
        best = blocks.flatten(1).topk(count, dim=1, sorted=False).indices
        candidates = _cells_of_blocks(best, width, block)
        own = uncertainty.flatten(1).gather(1, candidates).topk(count, dim=1, sorted=False).indices
        cells = candidates.gather(1, own)
    return cells, cell_centres(cells, height, width)


def _cells_of_blocks(blocks: Tensor, width: int, block: int) -> Tensor:
    """Return the flat indices [N, P·block²] of the cells of flat block indices [N, P] of a map of this width."""
    across = width // block
    corner = blocks.div(across, rounding_mode="floor") * (block * width) + blocks % across * block
    step = torch.arange(block, device=blocks.device)
    return (corner[..., None] + (step[:, None] * width + step).flatten()).flatten(1)


def cell_centres(cells: Tensor, height: int, width: int) -> Tensor:
    """Return the centres of flat cell indices [...] of a height×width map as unit points [..., 2]."""
    x = ((cells % width).float() + 0.5) / width
    y = (cells.div(width, rounding_mode="floor").float() + 0.5) / height
    return torch.stack([x, y], dim=-1)


def to_image(points: Tensor, boxes: Tensor) -> Tensor:
    """Return unit points [N, P, 2] of boxes [N, 4] (x0, y0, x1, y1) in the coordinates of the boxes: [N, P, 2]."""
    return boxes[:, None, :2] + points * (boxes[:, None, 2:] - boxes[:, None, :2])


def draw_candidates(
    regions: int,
    count: int,
    oversample: float,
    importance: float,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> tuple[Tensor, Tensor]:
    """Draw the random points that `biased_random_points` chooses from.

    Return candidates [regions, int(count·oversample), 2] and cover points [regions, count - int(importance·count), 2],
    independent and uniform over the unit square.
    """
    if oversample < 1 or not 0 <= importance <= 1:
        raise ValueError(f"need oversample ≥ 1 and 0 ≤ importance ≤ 1, got {oversample} and {importance}")
    covers = count - int(importance * count)
    return (
        torch.rand(regions, int(count * oversample), 2, generator=generator, device=device),
        torch.rand(regions, covers, 2, generator=generator, device=device),
    )


def biased_random_points(
    coarse: Tensor, candidates: Tensor, cover: Tensor, count: int, uncertainty: Uncertainty
) -> Tensor:
    """Return training points: the most uncertain candidates, then the cover points (paper section 3.1).

    coarse: [N, K, H, W] logits · candidates: [N, k·P, 2] · cover: [N, (1-β)·P, 2] → [N, P, 2] unit points.
    Logits are interpolated before their uncertainty is computed. Uncertainty is not linear: interpolating it would
    give false certainty between a certain foreground cell and a certain background cell.
    `uncertainty` maps logits [N, K, P'] to [N, 1, P'].
    """
    uncertain = uncertainty(sample(coarse, candidates))[:, 0]
    keep = uncertain.topk(count - cover.shape[1], dim=1).indices
    chosen = candidates.gather(1, keep[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, cover], dim=1)


def neighbours(x: Tensor, y: Tensor, height: int | Tensor, width: int | Tensor) -> tuple[Tensor, Tensor]:
    """Return the four cells around each position and their bilinear weights, which are 0 outside the map.

    x, y: [...] in cells, where cell (i, j) has its centre at (j + .5, i + .5) → flat indices [..., 4]
    (int64, clamped into the map) and weights [..., 4]. Tensors give each position a map size of its own.
    """
    (left, right), (near, far) = _neighbours_along(x, width)
    (top, bottom), (above, below) = _neighbours_along(y, height)
    top, bottom = top * width, bottom * width
    # Whole rows of numbers and one stack take half the time of products over axes of two.
    cells = torch.stack([top + left, top + right, bottom + left, bottom + right], dim=-1)
    return cells, torch.stack([above * near, above * far, below * near, below * far], dim=-1)


def inner_neighbours(positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Return what `neighbours` does for positions [..., 2] (x, y) whose four neighbours are all in a map."""
    position = positions - 0.5
    before = position.floor()
    x, y = before.long().unbind(-1)
    far, below = (position - before).unbind(-1)
    near, above = 1 - far, 1 - below
    left = y * width + x
    right = left + 1
    cells = torch.stack([left, right, left + width, right + width], dim=-1)
    return cells, torch.stack([above * near, above * far, below * near, below * far], dim=-1)


_Pair = tuple[Tensor, Tensor]


def _neighbours_along(position: Tensor, length: int | Tensor) -> tuple[_Pair, _Pair]:
    """Return the two cells around each position on one axis, each [...], and their weights, 0 outside the map."""
    position = position - 0.5
    before = position.floor()
    share = position - before
    first = before.long()
    second = first + 1
    if isinstance(length, Tensor):
        inside = [torch.minimum(cell.clamp(min=0), length - 1) for cell in (first, second)]
    else:
        inside = [cell.clamp(0, length - 1) for cell in (first, second)]
    one, other = inside
    return (one, other), ((1 - share) * (one == first), share * (other == second))


def sample_bitmaps(bitmaps: Tensor, index: Tensor, positions: Tensor) -> Tensor:
    """Return bilinear samples of bitmaps [G, H, W] (any type) at pixel positions, without a float copy of the bitmaps.

    index: [R], which bitmap each row of positions [R, P, 2] reads → [R, P] float in [0, 1], used as soft labels.
    """
    height, width = bitmaps.shape[-2:]
    cells, weights = neighbours(positions[..., 0], positions[..., 1], height, width)
    values = bitmaps.flatten(1)[index[:, None, None], cells]
    return (values * weights).sum(-1)
