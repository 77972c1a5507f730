"""COCO's average precision of boxes, masks and mask boundaries.

Boundary AP compares only the band near the outline, 2 % of the image's diagonal wide, and so shows the
difference that crisp masks make (Cheng et al., Boundary IoU, arXiv:2103.16562).

A new metric of instances is a line of one of the two tables below.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from faster_coco_eval import COCO, COCOeval_faster

from model.data.fields import DataError
from model.evaluation.coco_results import check_results
from model.evaluation.coco_truth import Truth, read_truth

# What is compared, and the library's name for it.
_KINDS = {"box": "bbox", "mask": "segm", "boundary": "boundary"}
# What is reported of each, and the library's name for it.
_METRICS = {
    "AP": "AP_all",
    "AP50": "AP_50",
    "AP75": "AP_75",
    "APs": "AP_small",
    "APm": "AP_medium",
    "APl": "AP_large",
}
HEADLINE = tuple(f"{kind}/AP" for kind in _KINDS)  # metrics that one line has room for
_UNMEASURED = dict.fromkeys(_METRICS, math.nan)


def average_precision(
    annotations: Path,
    results: Sequence[Mapping[str, Any]],
    category_ids: Collection[int] | None = None,
    image_ids: Collection[int] | None = None,
    *,
    one_class: bool = False,
) -> dict[str, float]:
    """Return average precision, 0 to 1, under "box/AP", "mask/APl", "boundary/AP50" and so on.

    `results` are COCO results: image_id, category_id, bbox [x, y, w, h], score, segmentation; those without
    a segmentation count as boxes only. `category_ids` and `image_ids` limit what is measured. With `one_class` all
    annotations are of the results' only category (see `Truth.as_one_class`). Images with any
    annotation that has no segmentation are left out for masks and boundaries. A metric for which there is no
    ground truth (such as APs without small objects) is NaN, and so are those of masks and boundaries when no
    result has a segmentation.

    Raises DataError that names the first result or annotation that cannot be used.
    """
    truth = read_truth(annotations)
    truth = truth.as_one_class() if one_class else truth
    truth.check_measurable(annotations)
    sizes = truth.sizes
    if image_ids is not None:
        if foreign := sorted(set(image_ids) - sizes.keys()):
            raise DataError(f"the results are for image {foreign[0]}, which is not in {annotations.name}")
        sizes = {i: sizes[i] for i in sorted(set(image_ids))}
    known = set(truth.category_ids)
    results = check_results(results, sizes, known)
    wanted = sorted(known if category_ids is None else known & set(category_ids))
    masks = not results or any(result.get("segmentation") for result in results)
    return {
        f"{kind}/{metric}": precision
        for kind, iou_type in _KINDS.items()
        for metric, precision in (
            _precision(truth, results, wanted, sizes, iou_type) if masks or kind == "box" else _UNMEASURED
        ).items()
    }


def _precision(
    truth: Truth,
    results: Sequence[Mapping[str, Any]],
    category_ids: list[int],
    sizes: Collection[int],
    iou_type: str,
) -> dict[str, float]:
    # The library writes into both sides' dictionaries, hence the copies. A result's size class is the area
    # of what is compared, so only that part is handed over. To the library, an annotation of id 0 is none.
    measured, other = ("bbox", "segmentation") if iou_type == "bbox" else ("segmentation", "bbox")
    known = [{**a, "id": i} for i, a in enumerate(truth.annotations, 1) if a["image_id"] in sizes]
    unknown = {a["image_id"] for a in known if not a[measured] and a["category_id"] in category_ids}
    image_ids = [image_id for image_id in sizes if image_id not in unknown]
    if not image_ids or not category_ids:
        return _UNMEASURED

    data = {
        "images": [{"id": i, "height": height, "width": width} for i, (height, width) in truth.sizes.items()],
        "categories": [{"id": i} for i in truth.category_ids],
        "annotations": [a for a in known if a[measured]],
    }
    library = COCO(data, print_function=_silent)
    found = library.loadRes([{k: v for k, v in r.items() if k != other} for r in results if r.get(measured)])
    evaluation = COCOeval_faster(library, found, iou_type, print_function=_silent)
    evaluation.params.imgIds = image_ids
    evaluation.params.catIds = category_ids
    evaluation.run()
    stats = evaluation.stats_as_dict
    return {metric: stats[key] if stats[key] >= 0 else math.nan for metric, key in _METRICS.items()}


def _silent(*_: object) -> None:
    """Take what the library would print."""
