"""Single functions against recorded ones: 1e-5 absolute, masks and random points exactly."""

from __future__ import annotations

import json

import pytest
import torch

from model.config.instance import PointRendConfig
from model.networks.mask_heads import CoarseHead, own_class
from model.pointrend import points
from model.pointrend.point_head import PointHead
from model.pointrend.regions import CoarseTerms
from model.training.losses.masks import mean_bce
from tests.parity.goldens import FOLDER, units

STATS = json.loads((FOLDER / "units.json").read_text())["randomness_stats"]


def check(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_point_sampling() -> None:
    u = units()
    maps, places = u["ps_in"], u["ps_pts"]
    check(points.sample(maps, places), u["ps_bilinear"])
    check(points.sample(maps, places, align_corners=True), u["ps_bilinear_ac"])
    check(points.sample(maps, places, mode="nearest"), u["ps_nearest"])
    check(points.sample(maps, places, padding="border"), u["ps_border"])
    check(points.sample(maps, u["ps_pts4d"]), u["ps_out4d"])


@pytest.mark.parametrize("side", [1, 4, 7, 14, 28])
def test_regular_grid(side: int) -> None:
    check(points.regular_grid(side).expand(2, -1, 2), units()[f"grid_{side}"])


@pytest.mark.parametrize(
    ("maps", "result", "count"), [("ug_map", "ug", 20), ("ug2_map", "ug2", 100), ("ug2_map", "ug3", 7)]
)
def test_most_uncertain(maps: str, result: str, count: int) -> None:
    u = units()
    cells, centres = points.most_uncertain(u[maps][:, 0], count)
    order, expected_order = cells.argsort(), u[f"{result}_idx"].argsort()
    assert torch.equal(cells.gather(1, order), u[f"{result}_idx"].gather(1, expected_order))
    both = [
        c.gather(1, o[..., None].expand(-1, -1, 2))
        for c, o in ((centres, order), (u[f"{result}_pts"], expected_order))
    ]
    check(*both)


def test_most_uncertain_with_ties_takes_equally_uncertain_cells() -> None:
    u = units()
    doubt = u["ug4_map_ties"][:, 0]
    cells, _ = points.most_uncertain(doubt, 20)
    found = doubt.flatten(1).gather(1, cells).sort(1).values
    assert torch.equal(found, doubt.flatten(1).gather(1, u["ug4_idx_ties"]).sort(1).values)


def test_uncertainties() -> None:
    u = units()
    own = own_class(u["unc_in"], u["unc_cls"])
    check(points.class_uncertainty(own)[:, None], u["unc_inst"])
    check(points.class_uncertainty(own_class(u["unc_in"][:, :1], u["unc_cls"]))[:, None], u["unc_inst_agn"])
    check(points.top2_uncertainty(u["unc_in"]), u["unc_sem"])


@pytest.mark.parametrize("case", ["a", "b", "c"])
def test_biased_random_points_from_the_recorded_draws(case: str) -> None:
    u = units()
    count, oversample, importance = u[f"ur_{case}_params"].tolist()
    own = own_class(u["ur_coarse"], u["ur_cls"])[:, None]
    candidates = u[f"ur_{case}_draw0"]
    cover = u.get(f"ur_{case}_draw1", torch.zeros(len(own), 0, 2))
    drawn = points.draw_candidates(len(own), int(count), oversample, importance)
    assert [d.shape for d in drawn] == [candidates.shape, cover.shape]
    found = points.biased_random_points(own, candidates, cover, int(count), points.class_uncertainty)
    assert torch.equal(found, u[f"ur_{case}_out"])


@pytest.mark.parametrize(
    ("case", "oversample", "importance"),
    [
        ("k1_beta0.0", 1, 0.0),
        ("k3_beta0.75", 3, 0.75),
        ("k3_beta1.0", 3, 1.0),
        ("k10_beta0.75", 10, 0.75),
        ("k10_beta1.0", 10, 1.0),
    ],
)
def test_biased_random_points_are_as_biased_as_recorded(
    case: str, oversample: float, importance: float
) -> None:
    """Over 2,000 boxes, as in the record; its maps are not kept, so maps of the same kind stand in."""
    u, stats = units(), STATS[case]
    own = own_class(u["ur_coarse"], u["ur_cls"])[:, None].repeat(334, 1, 1, 1)[:2000]
    draws = points.draw_candidates(2000, 196, oversample, importance, torch.Generator().manual_seed(0))
    found = points.biased_random_points(own, *draws, 196, points.class_uncertainty)
    logits = points.sample(own, found)[:, 0].abs()
    assert float(logits.mean()) == pytest.approx(stats["mean_abs_logit"], rel=0.03)
    assert float((logits < 0.25).float().mean()) == pytest.approx(stats["frac_lt_0_25"], abs=0.02)


@pytest.mark.parametrize(
    ("case", "each_layer", "agnostic"),
    [("std", True, False), ("std_nocoarse", False, False), ("std_agn", True, True)],
)
def test_point_head(case: str, each_layer: bool, agnostic: bool) -> None:
    u = units()
    config = PointRendConfig(point_dim=32, coarse_each_layer=each_layer, class_agnostic=agnostic)
    head = PointHead(24, 7, config)
    prefix = f"{case}_w:"
    state = {k.removeprefix(prefix): v for k, v in u.items() if k.startswith(prefix)}
    names = {"fc1": "fc.0", "fc2": "fc.1", "fc3": "fc.2", "predictor": "predictor"}
    head.load_state_dict(
        {
            f"{names[k.split('.')[0]]}.{k.split('.')[1]}": v.squeeze(-1) if v.dim() == 3 else v
            for k, v in state.items()
        }
    )
    fine, coarse = u[f"{case}_fine"], u[f"{case}_coarse"]
    with torch.no_grad():
        check(head(fine.transpose(1, 2), coarse.transpose(1, 2)).transpose(1, 2), u[f"{case}_out"])
        # The projected path gives each region's own class the same logit.
        classes = torch.tensor([2, 0, 6])
        projected = head.project_fine(fine[..., None])[:, :, 0]
        cells = head.project_coarse(coarse[..., None], classes)
        # Each point reads its own row.
        places = torch.arange(33)[:, None].expand(-1, 4)
        terms = CoarseTerms(cells.flatten(0, 1), places, torch.tensor([1.0, 0, 0, 0]).expand(33, -1))
        hidden = head.hidden(projected.flatten(0, 1), lambda layer: terms.term(head, layer))
        own = head.own_logits(hidden.view(3, 11, -1), cells[..., -1], classes)
    rows = classes * 0 if agnostic else classes
    check(own, u[f"{case}_out"].gather(1, rows[:, None, None].expand(-1, 1, 11))[:, 0])


def test_coarse_head_with_channel_reduction() -> None:
    u = units()
    head = CoarseHead(12, 5, PointRendConfig(conv_dim=8, fc_dim=20, pool=6, side=3))
    names = {
        "reduce_channel_dim_conv": "reduce",
        "reduce_spatial_dim_conv": "spatial",
        "fc1": "fc.0",
        "fc2": "fc.1",
    }
    state = {k.removeprefix("convfc_w:"): v for k, v in u.items() if k.startswith("convfc_w:")}
    head.load_state_dict(
        {f"{names.get(k.split('.')[0], k.split('.')[0])}.{k.split('.')[1]}": v for k, v in state.items()}
    )
    with torch.no_grad():
        check(head(u["convfc_in"]), u["convfc_out"])


def test_point_labels_and_loss() -> None:
    u = units()
    masks, places = (u["lab_masks0"], u["lab_masks1"]), u["lab_pts"]
    split = len(masks[0])
    labels = torch.cat(
        [
            points.sample_bitmaps(masks[0], torch.arange(split), places[:split]),
            points.sample_bitmaps(masks[1], torch.arange(len(masks[1])), places[split:]),
        ]
    )
    check(labels, u["lab_out"])
    own = u["loss_logits"].gather(1, u["lab_classes"][:, None, None].expand(-1, 1, 30))[:, 0]
    check(mean_bce(own, u["lab_out"]), u["loss_out"])


def test_fine_features_of_several_maps() -> None:
    """Points of boxes in image coordinates, and reads of two maps of different strides."""
    u = units()
    owner = torch.repeat_interleave(torch.arange(2), u["fg_num"])
    positions = points.to_image(u["fg_pts"], u["fg_boxes"])
    check(positions, u["fg_wrt_image"])
    reads = []
    for maps, stride in ((u["fg_f1"], 4), (u["fg_f2"], 8)):
        height, width = maps.shape[-2:]
        unit = positions / torch.tensor([width * stride, height * stride])
        reads.append(
            torch.cat([points.sample(maps[i : i + 1], unit[j][None]) for j, i in enumerate(owner.tolist())])
        )
    check(torch.cat(reads, 1), u["fg_out"])
