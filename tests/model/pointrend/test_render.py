"""The renderer: its schedule, and that renders together are renders alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from model.config.instance import PointRendConfig
from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender, render_dense
from model.pointrend.levels import (
    CELLS_PER_POINT,
    COARSEST,
    SIDES,
    auto_points,
    native_side,
    start_side,
    total_points,
    total_work,
)
from model.pointrend.point_head import PointHead
from model.pointrend.points import regular_grid, sample, to_image
from model.pointrend.regions import RegionMaps, Source
from model.pointrend.render import GROUP_POINTS, advance, render

CHANNELS, CLASSES = 6, 3


class Counting:
    """A point head that notes how many points each call evaluates."""

    def __init__(self, head: PointHead) -> None:
        self.head, self.calls = head, []
        self.hidden_of = head.hidden

    def hidden(self, fine: Tensor, term: Callable[[int], Tensor]) -> Tensor:
        self.calls.append(len(fine))
        return self.hidden_of(fine, term)


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture
def head() -> PointHead:
    torch.manual_seed(0)
    made = PointHead(CHANNELS, CLASSES, PointRendConfig(point_dim=8))
    for parameter in made.parameters():
        parameter.normal_(std=0.4)
    return made.eval()


@pytest.fixture
def counted(head: PointHead, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counting = Counting(head)
    monkeypatch.setattr(head, "hidden", counting.hidden)
    return counting.calls


def smooth(seed: int, *shape: int) -> Tensor:
    rough = torch.randn(*shape[:-2], 4, 4, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(rough, shape[-2:], mode="bicubic")


class Scene:
    """Images with raw features, and regions on them with raw coarse logits."""

    def __init__(self, head: PointHead, images: int = 2) -> None:
        self.head = head
        self.features = [smooth(i, 1, CHANNELS, 24 + 8 * i, 32) for i in range(images)]
        self.maps = []
        for features in self.features:
            table = head.project_fine(features)[0]
            self.maps.append(FineMap(table.flatten(0, 1), *table.shape[:2], 4))

    def coarse(self, seed: int) -> Tensor:
        return 3 * smooth(100 + seed, 1, CLASSES, 7, 7)

    def render(self, seed: int, image: int, side: int, points: int | None = None) -> InstanceRender:
        generator = torch.Generator().manual_seed(seed)
        x0, y0, w, h = (torch.rand(4, generator=generator) * 60).tolist()
        category = seed % CLASSES
        projected = self.head.project_coarse(self.coarse(seed), torch.tensor([category]))[0]
        box = torch.tensor([x0 - 10, y0 - 10, x0 + w + 4, y0 + h + 4])
        maps = RegionMaps(projected[None], box[None], torch.tensor([category]))
        return InstanceRender(Source(maps, 0, self.maps[image]), category, side, points)


def logits(r: InstanceRender) -> Tensor:
    assert r.logits is not None
    return r.logits


@pytest.mark.parametrize(
    ("side", "points", "calls"),
    [
        (7, None, [49]),
        (14, None, [196]),
        (28, None, [784]),
        (56, None, [784, 784]),
        (100, None, [784, 784, 784]),
        (224, None, [784, 784, 784, 784]),
        (448, None, [784, 784, 784, 784, 1568]),
        (14, 784, [196]),
        (28, 784, [784]),
        (224, 784, [784, 784, 784, 784]),
        (28, 196, [196, 196]),
        (224, 196, [196, 196, 196, 196, 196]),
        (28, 100, [49, 100, 100]),
        (224, 3136, [3136, 3136, 3136]),
        (28, 3136, [784]),
        (56, 10**6, [3136]),
    ],
)
def test_the_schedule(
    head: PointHead, counted: list[int], side: int, points: int | None, calls: list[int]
) -> None:
    """7 → 14 → 28 are skipped when the points cover them, as in the reference."""
    r = Scene(head).render(0, 0, side, points)
    assert r.level == 0 and not r.done
    render([r], head, group_points=10**9)
    assert counted == calls
    assert total_points(side, points) == sum(calls)
    assert r.done and r.level == side and r.probability().shape == (side, side)


def test_a_level_of_many_points_takes_several_steps(head: PointHead, counted: list[int]) -> None:
    """Between which others get on; what comes out is the level as a whole."""
    scene = Scene(head)
    r, other, dense = (scene.render(i, 0, side, 112**2) for i, side in ((0, 112), (1, 14), (0, 112)))
    assert r.next_level() == (112, GROUP_POINTS)
    advance([r, other], head)
    assert (r.level, other.done) == (0, True)
    assert counted == [GROUP_POINTS, 14**2]
    assert r.next_level() == (112, 112**2 - GROUP_POINTS)
    advance([r], head)
    assert r.done and r.unevaluated is None
    render_dense([dense], head)
    torch.testing.assert_close(logits(r), logits(dense), atol=1e-4, rtol=1e-4)


def test_a_sparse_level_in_parts_is_the_level_in_one(head: PointHead) -> None:
    whole, parts = (Scene(head).render(2, 0, 112, 784) for _ in range(2))
    render([whole], head)
    steps = 0
    while not parts.done:
        assert parts.next_level(300)[1] <= 300
        advance([parts], head, 300)
        steps += 1
    assert steps == 3 * 3
    torch.testing.assert_close(logits(parts), logits(whole), atol=1e-5, rtol=1e-5)


def test_a_level_begun_in_parts_stays_alone_in_larger_steps(head: PointHead) -> None:
    scene = Scene(head)
    begun, fresh, alone = (scene.render(i, 0, 56, 784) for i in (0, 1, 1))
    advance([begun], head, 300)
    assert begun.unevaluated is not None
    render([begun, fresh], head)
    render([alone], head)
    assert begun.done and fresh.done
    torch.testing.assert_close(logits(fresh), logits(alone), atol=1e-5, rtol=1e-5)


def test_a_limit_ends_a_level_that_is_begun(head: PointHead) -> None:
    r, kept = (Scene(head).render(0, 0, 224, 112**2) for _ in range(2))
    for _ in range(3):
        advance([r], head)
        advance([kept], head)
    assert (r.level, r.unevaluated is None) == (112, False)
    kept.limit(448)
    assert kept.unevaluated is not None
    r.limit(COARSEST)
    assert (r.target, r.done, r.unevaluated) == (112, True, None)
    early = Scene(head).render(0, 0, 896, 896**2)
    advance([early], head)
    early.limit(COARSEST)
    render([early], head)
    assert early.done and early.level == COARSEST


def test_few_points_do_not_make_a_large_level_cheap(head: PointHead, counted: list[int]) -> None:
    """But as many as `auto` evaluates are all that counts."""
    assert [total_work(side, None) for side in SIDES] == [total_points(side, None) for side in SIDES]
    assert total_work(896, 1) > 896**2 // CELLS_PER_POINT > 50 * total_points(896, 1)
    renders = [Scene(head).render(i, 0, 896, 1) for i in range(3)]
    for r in renders:
        r.logits = torch.randn(448, 448)
    assert renders[0].next_level() == (896, 896**2 // CELLS_PER_POINT)
    advance(renders, head)
    assert counted == [2, 1]


def test_the_first_level() -> None:
    assert [start_side(points) for points in (None, 1, 195, 196, 783, 784, 3135, 3136)] == [
        *(28, 7, 7, 14, 14, 28, 28, 56)
    ]


def test_points_grow_with_the_contour_and_never_shrink() -> None:
    counts = [auto_points(side) for side in SIDES]
    assert counts == sorted(counts) and counts[:4] == [784] * 4 and counts[4:] == [1568, 3136]


@pytest.mark.parametrize(
    ("width", "height", "side"),
    [
        (1, 1, 28),
        (28, 3, 28),
        (28.0001, 3, 28),
        (28.1, 3, 56),
        (3, 57, 112),
        (224, 224, 224),
        (897, 10, 896),
        (5000, 1, 896),
    ],
)
def test_native_gives_each_pixel_a_cell(width: float, height: float, side: int) -> None:
    assert native_side(width, height) == side


def test_nothing_rendered_has_no_probability(head: PointHead) -> None:
    with pytest.raises(ValueError, match="nothing is rendered yet"):
        Scene(head).render(0, 0, 28).probability()


def test_a_dense_render_is_the_head_at_every_cell(head: PointHead) -> None:
    """Against the unprojected path: sampled features and coarse logits joined."""
    scene = Scene(head)
    r = scene.render(4, 1, 28)
    render_dense([r], head, group_points=100)
    grid = regular_grid(28)[None]
    features = scene.features[1]
    size = 4.0 * torch.tensor([features.shape[3], features.shape[2]])
    fine = sample(features, to_image(grid, r.source.maps.boxes) / size).transpose(1, 2)
    coarse = sample(scene.coarse(4), grid).transpose(1, 2)
    expected = head(fine, coarse)[0, :, r.category].view(28, 28)
    torch.testing.assert_close(logits(r), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("side", [7, 28, 56, 112])
def test_adaptive_is_dense_when_the_points_cover_everything(head: PointHead, side: int) -> None:
    adaptive, dense = (Scene(head).render(1, 0, side, points) for points in (side**2, None))
    render([adaptive], head)
    render_dense([dense], head)
    torch.testing.assert_close(logits(adaptive), logits(dense), atol=1e-4, rtol=1e-4)


def test_covering_points_make_sparse_levels_dense_too(head: PointHead) -> None:
    """From a level that is already there, a further one of which every cell is evaluated."""
    adaptive, dense = (Scene(head).render(1, 0, 56, 56**2) for _ in range(2))
    adaptive.logits = torch.randn(28, 28)
    advance([adaptive], head)
    render_dense([dense], head)
    torch.testing.assert_close(logits(adaptive), logits(dense), atol=1e-4, rtol=1e-4)


def test_only_the_most_uncertain_cells_change(head: PointHead) -> None:
    r = Scene(head).render(2, 0, 56, 784)
    r.logits = before = torch.randn(28, 28) * 3
    finer = torch.nn.functional.interpolate(before[None, None], scale_factor=2.0, mode="bilinear")[0, 0]
    advance([r], head)
    changed = logits(r) != finer
    assert 784 - 8 <= int(changed.sum()) <= 784
    assert float(finer[changed].abs().max()) <= float(finer[~changed].abs().min())


def mixed(scene: Scene) -> list[InstanceRender]:
    """Images, targets, points and (after some steps) levels of all kinds."""
    kinds = [
        (0, 224, None),
        (1, 28, 784),
        (0, 56, 196),
        (1, 112, None),
        (0, 14, None),
        (1, 224, 300),
        (0, 224, 784),
    ]
    renders = [scene.render(i, *kind) for i, kind in enumerate(kinds)]
    for steps, i in ((1, 0), (2, 3), (1, 2), (2, 6)):
        for _ in range(steps):
            advance([renders[i]], scene.head)
    return renders


@pytest.mark.parametrize("group_points", [784, 2000, 10**9])
def test_a_mixed_step_is_each_ones_own_step(head: PointHead, group_points: int) -> None:
    scene = Scene(head)
    alone = mixed(scene)
    for r in alone:
        advance([r], head)
    together = mixed(scene)
    assert len({(r.level, r.target) for r in together}) > 4
    order = [5, 0, 3, 6, 1, 4, 2]
    advance([together[i] for i in order], head, group_points)
    for one, other in zip(alone, together, strict=True):
        assert one.level == other.level > 0
        torch.testing.assert_close(logits(other), logits(one), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("group_points", [100, 1000, 10**9])
def test_the_groups_size_does_not_change_results(head: PointHead, group_points: int) -> None:
    scene = Scene(head)
    expected, found = ([scene.render(i, i % 2, 112) for i in range(5)] for _ in range(2))
    render(expected, head)
    render(found, head, group_points)
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(logits(other), logits(one), atol=1e-3, rtol=1e-3)


def test_a_group_is_one_call_within_its_limit(head: PointHead, counted: list[int]) -> None:
    scene = Scene(head)
    render([scene.render(i, i % 2, 28) for i in range(5)], head, group_points=2 * 784 + 1)
    assert counted == [1568, 1568, 784]
    counted.clear()
    advance([scene.render(0, 0, 28), scene.render(1, 1, 28, 100)], head)
    assert counted == [784 + 49]


def test_a_shared_map_is_a_map_of_ones_own(head: PointHead) -> None:
    scene = Scene(head, images=1)
    shared = [scene.render(i, 0, 56) for i in range(3)]
    copies = [scene.render(i, 0, 56) for i in range(3)]
    for r in copies:
        table = r.source.fine.table.clone()
        r.source = r.source._replace(fine=r.source.fine._replace(table=table))
    advance(shared, head)
    advance(copies, head)
    for one, other in zip(shared, copies, strict=True):
        torch.testing.assert_close(logits(one), logits(other), atol=1e-5, rtol=1e-5)


def test_interleaved_maps_are_read_each_from_its_own(head: PointHead) -> None:
    scene = Scene(head)
    together = [scene.render(i, image, 28) for i, image in enumerate([0, 1, 1, 0, 1])]
    advance(together, head)
    for i, image in enumerate([0, 1, 1, 0, 1]):
        dense = scene.render(i, image, 28)
        render_dense([dense], head)
        torch.testing.assert_close(logits(together[i]), logits(dense), atol=1e-4, rtol=1e-4)


def test_no_renders(head: PointHead, counted: list[int]) -> None:
    render([], head)
    advance([], head)
    render_dense([], head)
    done = Scene(head).render(0, 0, 28)
    done.logits = torch.zeros(28, 28)
    render([done], head)
    assert counted == []


def test_results_of_a_render_that_left_stay_as_they_were(head: PointHead) -> None:
    """A render that leaves a group after a level keeps its mask while the others go on."""
    scene = Scene(head)
    stays, leaves = scene.render(0, 0, 112), scene.render(1, 0, 112)
    advance([stays, leaves], head)
    kept = logits(leaves).clone()
    render([stays], head)
    assert leaves.level == 28 and torch.equal(logits(leaves), kept)


def test_a_limit_lowers_the_target_but_not_below_what_is_finished(head: PointHead) -> None:
    r = Scene(head).render(0, 0, 224)
    r.limit(448)
    assert (r.target, r.truncated, r.done) == (224, False, False)
    advance([r], head)
    advance([r], head)
    r.limit(112)
    assert (r.target, r.truncated, r.done) == (112, True, False)
    r.limit(COARSEST)
    assert (r.target, r.level, r.done) == (56, 56, True)
    assert r.probability().shape == (56, 56)


def test_the_coarsest_mask_is_what_the_head_says_at_seven_by_seven(
    head: PointHead, counted: list[int]
) -> None:
    hurried, dense = (Scene(head).render(1, 0, side) for side in (224, COARSEST))
    hurried.limit(COARSEST)
    render([hurried], head)
    assert counted == [COARSEST**2]
    render_dense([dense], head)
    torch.testing.assert_close(logits(hurried), logits(dense), atol=1e-5, rtol=1e-5)
    assert hurried.truncated
