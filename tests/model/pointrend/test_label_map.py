"""The renderer of label maps: the same as the plain loop, near the dense map, little memory, any size."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from model.config.semantic import SemanticPointConfig
from model.pointrend import label_map_pyramid
from model.pointrend.features import FineMap
from model.pointrend.label_map import LabelMapRender, dense_labels
from model.pointrend.label_map_levels import Size, level_points, size_after, total_points, total_work
from model.pointrend.point_head import PointHead
from model.pointrend.points import cell_centres, sample
from model.pointrend.render import GROUP_POINTS, advance, render

K, D = 4, 8


@pytest.fixture
def head() -> PointHead:
    torch.manual_seed(0)
    return random_head()


def random_head() -> PointHead:
    head = PointHead(5, K, SemanticPointConfig(D, 2)).eval()
    torch.nn.init.normal_(head.predictor.weight)
    return head


def begun(
    head: PointHead, target: Size, points: int | None = None, extent: Size = (64, 96), stride: int = 4
) -> tuple[LabelMapRender, Tensor]:
    """A render of random maps of a padded 64×96 input, and its fine features."""
    torch.manual_seed(1)
    features = torch.randn(1, 5, 16, 24)
    table = head.project_fine(features)[0].detach()
    fine = FineMap(table.reshape(-1, D), 16, 24, 4)
    return LabelMapRender(
        torch.randn(K, 64 // stride, 96 // stride), fine, stride, extent, target, points
    ), features


@torch.inference_mode()
def plain_loop(r: LabelMapRender, features: Tensor, head: PointHead, steps: int, points: int) -> Tensor:
    """The published loop on whole maps, without padding."""
    logits = r.coarse[None]
    for _ in range(steps):
        logits = F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)
        best = logits.topk(2, dim=1).values
        height, width = logits.shape[-2:]
        cells = (best[:, 1] - best[:, 0]).flatten(1).topk(min(points, height * width)).indices
        centres = cell_centres(cells, height, width)
        found = head(
            sample(features, centres).transpose(1, 2), sample(r.coarse[None], centres).transpose(1, 2)
        )
        logits = logits.flatten(2).scatter(2, cells[:, None].expand(-1, K, -1), found.transpose(1, 2))
        logits = logits.view(1, K, height, width)
    return logits[0]


@pytest.mark.parametrize("band", [200, 3000, 2**20])
@pytest.mark.parametrize(("stride", "steps"), [(4, 2), (16, 4), (8, 5)])
def test_it_is_the_published_loop(
    head: PointHead, monkeypatch: pytest.MonkeyPatch, band: int, stride: int, steps: int
) -> None:
    monkeypatch.setattr(label_map_pyramid, "BAND", band)
    target = (64 // stride * 2**steps, 96 // stride * 2**steps)
    r, features = begun(head, target, points=150, stride=stride)
    expected = plain_loop(r, features, head, steps, 150)
    render([r], head)
    assert r.done and r.size == target
    close = (r.pyramid.rows(0, target[0]) - expected).abs() <= 1e-3
    assert float(close.float().mean()) >= 0.999
    assert (r.pyramid.labels(*target) == expected.argmax(0).numpy()).mean() >= 0.999


def test_bands_do_not_change_anything(head: PointHead, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = begun(head, (150, 225))
    render([whole], head)
    expected = whole.pyramid.labels(70, 301)
    monkeypatch.setattr(label_map_pyramid, "BAND", 500)
    parts, _ = begun(head, (150, 225))
    render([parts], head)
    assert all(
        torch.equal(a.cells, b.cells) for a, b in zip(whole.pyramid.levels, parts.pyramid.levels, strict=True)
    )
    assert np.array_equal(parts.pyramid.labels(70, 301), expected)


def test_more_than_the_input_is_finer_not_cropped() -> None:
    """The reference crops: raising its number of steps ruins the map."""
    (small, head), (large, _) = detailed((256, 384)), detailed((1024, 1536))
    render([small, large], head)
    assert [level.size[0] for level in large.pyramid.levels] == [128, 256, 512, 1024]
    assert (large.pyramid.labels(256, 384) == small.pyramid.labels(256, 384)).mean() > 0.999


def test_padding_is_not_part_of_the_map(head: PointHead) -> None:
    r, _ = begun(head, (100, 150), extent=(50, 75))
    assert r.size == (13, 19)
    render([r], head)
    assert r.size == (100, 150)
    r.coarse[:, 14:] = 1e6  # never read
    again = LabelMapRender(r.coarse, r.fine, 4, (50, 75), (100, 150))
    assert torch.equal(again.pyramid.base, r.pyramid.base)


def test_an_image_that_ends_within_a_cell_is_resampled() -> None:
    ramp = torch.arange(24.0).expand(2, 16, 24) * 4 + 2  # the position of each cell's centre in pixels
    r = LabelMapRender(ramp, None, 4, (64, 90), (64, 90))
    expected = (torch.arange(23) + 0.5) * 90 / 23
    assert torch.allclose(r.pyramid.base[0, 0, 1:-1], expected[1:-1], atol=1e-4)


def detailed(target: Size) -> tuple[LabelMapRender, PointHead]:
    """A head that trusts the fine map, which holds discs and a thin pole; the coarse map is a blurred copy."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    truth = torch.zeros(64, 96).long()
    truth[y > 40 + 4 * torch.sin(x / 9)] = 1
    truth[(x - 30) ** 2 + (y - 24) ** 2 < 150] = 2
    truth[(x - 70).abs() < 1.5] = 3
    features = 6 * F.one_hot(truth, K).permute(2, 0, 1)[None].float()
    coarse = F.interpolate(F.avg_pool2d(features, 4), scale_factor=4, mode="bilinear")
    head = PointHead(K, K, SemanticPointConfig(K, 2)).eval()
    for layer in (*head.fc, head.predictor):
        weight = layer.weight.data
        weight.copy_(torch.eye(*weight.shape))
    table = head.project_fine(features)[0].reshape(-1, K).detach()
    return LabelMapRender(coarse[0], FineMap(table, 64, 96, 4), 4, (256, 384), target), head


@pytest.mark.parametrize("target", [(256, 384), (512, 768)])
def test_adaptive_is_nearly_dense_for_a_fraction_of_the_points(target: Size) -> None:
    r, head = detailed(target)
    dense, coarse = dense_labels(r, head), r.pyramid.labels(*target)
    render([r], head)
    adaptive = r.pyramid.labels(*target)
    assert (coarse == dense).mean() < 0.99
    assert (adaptive == dense).mean() > 0.999
    evaluated = sum(len(level.cells) for level in r.pyramid.levels)
    assert evaluated == total_points((64, 96), target, (256, 384), None) < 0.07 * target[0] * target[1]


def test_no_float_map_is_carried(head: PointHead) -> None:
    """What a render keeps grows with its points, not with its cells."""
    r, _ = begun(head, (1024, 1536), points=100)
    render([r], head)
    kept = sum(
        t.numel() * t.element_size() for level in r.pyramid.levels for t in (level.cells, level.logits)
    )
    assert kept == sum(len(level.cells) * (8 + 4 * K) for level in r.pyramid.levels) == 6 * 100 * (8 + 4 * K)


def test_limits_lower_the_target_as_a_render_does(head: PointHead) -> None:
    r, _ = begun(head, (256, 384))
    assert (r.level, r.target, r.done, r.next_level()) == (
        16,
        256,
        False,
        (32, level_points((32, 48), (64, 96), None) + 32 * 48 // 32),
    )
    r.limit(300)
    assert (r.target, r.truncated) == (256, False)
    r.limit(150)
    assert (r.target_size, r.truncated) == ((150, 225), True)
    advance([r], head)
    r.limit(7)
    assert r.done and r.target_size == r.size == (32, 48)
    assert r.pyramid.labels(256, 384).shape == (256, 384)
    early, _ = begun(head, (256, 384))
    early.limit(7)  # even then there is something to see: the coarse prediction
    assert early.done and early.level == 16 and early.pyramid.labels(20, 30).shape == (20, 30)


FEW = 40  # points of a call


def in_small_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat 500 values of a level at a time."""
    monkeypatch.setattr(label_map_pyramid, "BAND", 500)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("small", [False, True])
def test_a_render_ends_whatever_the_logits_are(
    head: PointHead, monkeypatch: pytest.MonkeyPatch, value: float, small: bool
) -> None:
    """All classes but one, everywhere: a network that diverged must not keep the device for ever."""
    if small:
        in_small_bands(monkeypatch)
    r, _ = begun(head, (64, 96), points=100)
    r.pyramid.base[1:] = value
    for _ in range(200):
        if not r.done:
            advance([r], head, FEW if small else GROUP_POINTS)
    assert r.done
    assert [len(level.cells) for level in r.pyramid.levels] == [100, 100]


def test_a_large_level_is_made_in_small_steps(head: PointHead, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = begun(head, (150, 225), points=333)
    steps = 0
    while not whole.done:
        advance([whole], head)
        steps += 1
    assert steps == len(whole.pyramid.levels) == 4
    in_small_bands(monkeypatch)
    calls = evaluations(monkeypatch)
    parts, _ = begun(head, (150, 225), points=333)
    work: dict[int, list[int]] = {}
    while not parts.done:
        height, next_step = parts.next_level(FEW)
        work.setdefault(height, []).append(next_step)
        before, levels = len(calls), len(parts.pyramid.levels)
        advance([parts], head, FEW)
        assert sum(calls[before:]) <= 40
        assert parts.next is None or len(parts.pyramid.levels) == levels
    assert len(calls) == 4 * -(-333 // 40)
    assert len(work[150]) == 150 + len(calls) // 4 - 1  # a band is a row of it
    assert sum(work[150]) == 333 + 150 * -(-225 // 32) and max(work[150]) == 40 + 8
    assert total_work((16, 24), (150, 225), (64, 96), 333) <= sum(map(sum, work.values()))
    for a, b in zip(whole.pyramid.levels, parts.pyramid.levels, strict=True):
        assert torch.equal(a.cells, b.cells) and torch.allclose(a.logits, b.logits, atol=1e-5)


def test_renders_share_calls_and_are_what_they_are_alone(
    head: PointHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    def several() -> list[LabelMapRender]:
        wanted: list[tuple[Size, int]] = [
            ((128, 192), 50),
            ((128, 192), 60),
            ((40, 60), 20),
            ((300, 450), 70),
        ]
        return [begun(head, target, points)[0] for target, points in wanted]

    calls = evaluations(monkeypatch)
    alone, together = several(), several()
    for r in alone:
        render([r], head)
    assert len(calls) == 3 + 3 + 2 + 5
    calls.clear()
    while pending := [r for r in together if not r.done]:
        advance(pending, head)
    assert calls == [200, 200, 180, 70, 70]
    for a, b in zip(alone, together, strict=True):
        assert all(
            torch.equal(x.cells, y.cells) for x, y in zip(a.pyramid.levels, b.pyramid.levels, strict=True)
        )
        assert np.array_equal(a.pyramid.labels(128, 192), b.pyramid.labels(128, 192))
    calls.clear()
    advance(several(), head, 120)
    assert calls == [50, 60, 20, 70], "no group has more work than its limit, searching included"


def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The points of each call of a point head, from now on."""
    calls: list[int] = []
    called = PointHead.hidden

    def counted(self: PointHead, fine: Tensor, term: Callable[[int], Tensor]) -> Tensor:
        calls.append(len(fine))
        return called(self, fine, term)

    monkeypatch.setattr(PointHead, "hidden", counted)
    return calls


def test_a_limit_drops_a_level_that_is_begun(head: PointHead, monkeypatch: pytest.MonkeyPatch) -> None:
    in_small_bands(monkeypatch)
    r, _ = begun(head, (256, 384), points=100)
    while len(r.pyramid.levels) < 2:
        advance([r], head, FEW)
    advance([r], head, FEW)
    assert r.next is not None and r.next.size == (128, 192)
    r.limit(200)
    assert r.next is not None, "the next level is the same"
    r.limit(100)
    assert r.next is None and r.next_level()[0] == 100
    advance([r], head, FEW)
    r.limit(7)
    assert r.done and r.next is None and r.pyramid.labels(64, 96).shape == (64, 96)


def test_a_failed_step_can_be_tried_again(head: PointHead, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = begun(head, (64, 96), points=100)
    render([expected], head)
    r, _ = begun(head, (64, 96), points=100)
    with monkeypatch.context() as broken, pytest.raises(RuntimeError, match="out of memory"):

        def full(*_: object) -> Tensor:
            raise RuntimeError("out of memory")

        broken.setattr(PointHead, "hidden", full)
        advance([r], head)
    render([r], head)
    assert np.array_equal(r.pyramid.labels(64, 96), expected.pyramid.labels(64, 96))


def test_a_base_alone_is_done_from_the_start() -> None:
    r = LabelMapRender(torch.randn(K, 16, 24), None, 4, (64, 96), (512, 768))
    assert r.done and not r.truncated and r.target == 16
    assert r.pyramid.labels(64, 96).shape == (64, 96)
    expected = F.interpolate(r.coarse[None], size=(512, 768), mode="bilinear")[0].argmax(0)
    assert (r.pyramid.labels(512, 768) == expected.numpy()).mean() > 0.9999


def test_a_small_target_needs_no_points(head: PointHead) -> None:
    r, _ = begun(head, (10, 15))
    assert r.done and r.pyramid.labels(10, 15).shape == (10, 15)


@settings(deadline=None, max_examples=60)
@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.sampled_from([None, 1, 50]),
)
def test_any_sizes_end_at_their_target(extent: Size, target: Size, points: int | None) -> None:
    head = random_head()
    height, width = (-(-side // 32) * 32 // 4 for side in extent)
    fine = FineMap(torch.randn(height * width, D), height, width, 4)
    r = LabelMapRender(torch.randn(K, height, width), fine, 4, extent, target, points)
    planned = total_points(r.size, r.target_size, r.extent, points)
    render([r], head)
    assert r.done and sum(len(level.cells) for level in r.pyramid.levels) == planned
    assert not r.pyramid.levels or r.size == target
    assert all(bool((level.cells[1:] > level.cells[:-1]).all()) for level in r.pyramid.levels)
    assert r.pyramid.labels(*target).max() < K


def test_levels_double_and_points_follow_the_contours() -> None:
    assert size_after((256, 512), (1024, 2048)) == (512, 1024)
    assert size_after((512, 1024), (1024, 2048)) == (1024, 2048)
    assert size_after((512, 1024), (700, 1400)) == (700, 1400)
    extent = (1024, 2048)
    assert (
        level_points(extent, extent, None) == level_points((512, 1024), extent, None) == 2 * 8192
    )  # twice as published
    assert level_points((4096, 8192), extent, None) == 4 * 2 * 8192
    assert level_points((10, 10), (10, 10), None) == 100 and level_points((2, 3), (9, 9), None) == 6
    assert total_points((64, 128), extent, extent, 8192) == 4 * 8192  # the paper's 32 thousand
    assert total_points((256, 512), extent, extent, 5000) == 2 * 5000


def test_without_a_fine_map_nothing_is_evaluated() -> None:
    r = dataclasses.replace(detailed((256, 384))[0])
    r.fine = None
    with pytest.raises(ValueError, match="no point head"):
        advance([r], random_head())
