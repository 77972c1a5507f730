"""What is measured of the heads' masks: as served, on the same detections, and inside the true boxes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle_codec
from torch.nn import functional as F

from bench.paper.heads.detector import coarse_pass, given, masks
from bench.paper.heads.measure import METRICS, OUTPUTS, average_precision, in_true_boxes, summary
from bench.paper.heads.overlap import mean, overlaps
from bench.paper.heads.tables import overlap_table, precision_table
from bench.paper.heads.variants import BIASED, COARSE, CONV, NAMES, POINTREND
from model.data.coco import read_image
from model.evaluation.coco_ap import average_precision as coco_average_precision
from model.evaluation.instance import predict
from model.networks.mask_heads import own_class
from model.pointrend.levels import native_side
from model.predict.instance import InstanceOptions
from tests.bench import support
from tests.bench.support import Scene

CLASSES = dict(enumerate(support.CATEGORIES))


def test_the_checkpoints_own_head_measures_as_model_evaluate_does(scene: Scene) -> None:
    heads = {BIASED: scene.detector.network.mask_head}
    found = average_precision(scene.detector, heads, scene.data, scene.dataset, CLASSES, limit=2)
    for output in (28, "native"):
        results = predict(
            scene.detector.checkpoint, scene.dataset, CLASSES, InstanceOptions(resolution=output), limit=2
        )
        assert results.entries
        expected = coco_average_precision(
            scene.data, results.entries, results.category_ids, results.image_ids
        )
        wanted = {f"{kind}/{m}": expected[f"{kind}/{m}"] for kind in ("mask", "boundary") for m in METRICS}
        assert found[BIASED][str(output)] == pytest.approx(wanted, nan_ok=True)


def test_every_head_sees_the_same_boxes(scene: Scene) -> None:
    seen = scene.detector.see(read_image(scene.dataset.records[0]))
    detections = scene.detector.detect(seen)
    for output in (56, "native"):
        options = InstanceOptions(resolution=output, score=0.0)
        places = []
        for head in support.heads().values():
            regions = masks(
                scene.detector.predictor, head, seen, coarse_pass(head, seen, detections), options
            ).regions
            places.append([(r.category, r.score, *r.box.tolist()) for r in regions])
            for region in regions:
                width, height = (region.box[2:] - region.box[:2]).tolist()
                side = native_side(width, height) if output == "native" else output
                assert region.render.logits is not None and region.render.logits.shape == (side, side)
        assert places[0] and all(place == places[0] for place in places)


@pytest.mark.parametrize("name", [COARSE, CONV])
def test_baselines_are_upsampled_logits(scene: Scene, name: str) -> None:
    head = support.heads()[name]
    seen = scene.detector.see(read_image(scene.dataset.records[0]))
    found = scene.detector.detect(seen)
    regions = masks(
        scene.detector.predictor,
        head,
        seen,
        coarse_pass(head, seen, found),
        InstanceOptions(resolution=112, score=0.0),
    ).regions
    own = own_class(head(seen.pyramid, found.boxes, found.batch), found.classes)
    expected = F.interpolate(own[:, None], size=(112, 112), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(
        torch.stack([r.render.logits for r in regions if r.render.logits is not None]), expected
    )


def disc(radius: float, x: float = 40) -> NDArray[np.uint8]:
    y, columns = np.mgrid[0:60, 0:80]
    return (np.hypot(columns - x, y - 30) < radius).astype(np.uint8)


def encoded(mask: NDArray[np.uint8]) -> dict[str, Any]:
    return dict(rle_codec.encode(np.asfortranarray(mask)))


def band(mask: NDArray[np.uint8], width: int) -> NDArray[np.bool_]:
    """The pixels within `width` steps of the background; outside of the image there is some."""
    padded = F.pad(torch.from_numpy(1 - mask).float()[None], (1, 1, 1, 1), value=1)
    for _ in range(width):
        padded = F.pad(F.max_pool2d(padded, 3, 1), (1, 1, 1, 1), value=1)
    return (mask == 1) & (padded[0, 1:-1, 1:-1].numpy() > 0)


@pytest.mark.parametrize(
    ("one", "other"), [(disc(20), disc(17)), (disc(25, 10), disc(25, 14)), (disc(20), disc(20))]
)
def test_overlaps_are_those_of_pixels_and_of_bands(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> None:
    def iou(a: NDArray[Any], b: NDArray[Any]) -> float:
        return float((a & b).sum() / (a | b).sum())

    width = round(0.02 * math.hypot(60, 80))
    expected = iou(one, other), iou(band(one, width), band(other, width))
    assert overlaps(encoded(one), encoded(other)) == pytest.approx(expected)


def test_nothing_overlaps_nothing_in_no_pixel() -> None:
    assert overlaps(encoded(disc(0)), encoded(disc(9))) == (0, 0)


def test_true_boxes_are_kept_and_those_without_a_mask_left_out(scene: Scene) -> None:
    first, *others = scene.dataset.records
    known, unknown = first.annotations
    bare = dataclasses.replace(first, annotations=(known, dataclasses.replace(unknown, shape=None)))
    dataset = dataclasses.replace(scene.dataset, records=(bare, *others))
    heads = support.heads()
    values, areas = in_true_boxes(scene.detector, heads, dataset, CLASSES, limit=2)
    assert set(values) == set(NAMES) and all(rows.shape == (3, 2) for rows in values.values())
    boxes = [a.box for r in (bare, others[0]) for a in r.annotations if a.shape is not None]
    expected = [np.pi / 4 * (x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]  # discs that fill them
    np.testing.assert_allclose(areas, expected, rtol=0.1)

    seen = scene.detector.see(read_image(bare))
    found = given(seen, boxes[:1], [known.category])
    region = masks(
        scene.detector.predictor,
        heads[CONV],
        seen,
        coarse_pass(heads[CONV], seen, found),
        InstanceOptions(score=0.0),
    ).regions[0]
    np.testing.assert_allclose(region.box, boxes[0], atol=1e-3)
    assert region.category == known.category


def test_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    values = {name: rng.random((30, 2)) for name in NAMES}
    values[CONV] = values[BIASED] - 0.1
    areas = np.repeat([100.0, 20000.0], [20, 10])
    found = summary(values, areas)
    for which, count in (("all", 30), ("large", 10)):
        for kind in ("mask", "boundary"):
            cell = found["differences"][CONV][which][kind]
            assert cell == pytest.approx({"mean": 0.1, "error": 0, "count": count}, abs=1e-9)
    assert found["heads"]["grid"]["large"]["boundary"]["mean"] == values["grid"][20:, 1].mean()
    text = overlap_table(found)
    assert "| PointRend, biased (k=3, β=0.75) − 4×conv 28×28 | 0.1000 ± 0.0000 |" in text


def test_a_mean_knows_how_sure_it_is() -> None:
    assert mean(np.array([1.0, 2.0, 3.0])).error == pytest.approx(1 / math.sqrt(3))
    assert math.isnan(mean(np.array([1.0])).error) and math.isnan(mean(np.array([])).mean)


def test_precision_as_a_table() -> None:
    metrics = {f"{kind}/{m}": 0.25 for kind in ("mask", "boundary") for m in METRICS}
    metrics["mask/APl"] = math.nan
    text = precision_table({name: {str(output): metrics for output in OUTPUTS} for name in POINTREND})
    lines = text.splitlines()
    assert len(lines) == 2 + len(POINTREND) * len(OUTPUTS)
    assert lines[0].startswith("| head | output | mask AP | mask AP50 | mask AP75 | mask APl | boundary AP |")
    assert lines[2].startswith("| PointRend, regular grid | 28 | 0.2500 | 0.2500 | 0.2500 | – | 0.2500 |")
