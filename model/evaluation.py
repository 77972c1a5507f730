"""COCO's average precision of boxes, masks and mask boundaries.

Boundary AP compares only the band near the outline, 2 % of the image's diagonal wide, and so shows the
difference that crisp masks make (Cheng et al., Boundary IoU, arXiv:2103.16562).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from faster_coco_eval import COCO, COCOeval_faster

_KINDS = {"box": "bbox", "mask": "segm", "boundary": "boundary"}
_METRICS = {
    "AP": "AP_all",
    "AP50": "AP_50",
    "AP75": "AP_75",
    "APs": "AP_small",
    "APm": "AP_medium",
    "APl": "AP_large",
}


def evaluate(
    annotations: Path,
    results: Sequence[Mapping[str, Any]],
    category_ids: Collection[int] | None = None,
) -> dict[str, float]:
    """Average precision, 0 to 1, under "box/AP", "mask/APl", "boundary/AP50" and so on.

    `results` are COCO results: image_id, category_id, bbox [x, y, w, h], score, segmentation (compressed
    RLE); those without a segmentation count as boxes only. `category_ids` limits what is measured.
    Images with any annotation that has no segmentation are left out for masks and boundaries. A
    metric for which there is no ground truth (such as APs without small objects) is NaN.

    Raises ValueError if a result lacks a key or is for an image that is not in the annotations.
    """
    data = json.loads(annotations.read_text(encoding="utf-8"))
    _check(results, {image["id"] for image in data["images"]})
    wanted = sorted(c["id"] for c in data["categories"] if category_ids is None or c["id"] in category_ids)
    return {
        f"{kind}/{name}": value
        for kind, iou_type in _KINDS.items()
        for name, value in _precision(data, results, wanted, iou_type).items()
    }


def _precision(
    data: dict[str, Any], results: Sequence[Mapping[str, Any]], category_ids: list[int], iou_type: str
) -> dict[str, float]:
    # The library writes into both sides' dictionaries, hence the copies. A result's size class is the area
    # of what is compared, so only that part is handed over.
    measured, other = ("bbox", "segmentation") if iou_type == "bbox" else ("segmentation", "bbox")
    known = [a | {"area": a.get("area", a["bbox"][2] * a["bbox"][3])} for a in data["annotations"]]
    unknown = {a["image_id"] for a in known if not a.get(measured) and a["category_id"] in category_ids}
    image_ids = [image["id"] for image in data["images"] if image["id"] not in unknown]
    if not image_ids or not category_ids:
        return dict.fromkeys(_METRICS, math.nan)

    truth = COCO(data | {"annotations": [a for a in known if a.get(measured)]}, print_function=_silent)
    found = truth.loadRes([{k: v for k, v in r.items() if k != other} for r in results if r.get(measured)])
    evaluation = COCOeval_faster(truth, found, iou_type, print_function=_silent)
    evaluation.params.imgIds = image_ids
    evaluation.params.catIds = category_ids
    evaluation.run()
    stats = evaluation.stats_as_dict
    return {name: stats[key] if stats[key] >= 0 else math.nan for name, key in _METRICS.items()}


def _check(results: Sequence[Mapping[str, Any]], image_ids: set[int]) -> None:
    for position, result in enumerate(results):
        if missing := {"image_id", "category_id", "bbox", "score"} - result.keys():
            raise ValueError(f"result {position} has no {', '.join(sorted(missing))}")
        if result["image_id"] not in image_ids:
            raise ValueError(f"result {position} is for image {result['image_id']}, which is not annotated")


def _silent(*_: object) -> None:
    """Instead of printing."""
