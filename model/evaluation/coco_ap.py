"""COCO's average precision of boxes, masks and mask boundaries.

Boundary AP compares only the band near the outline, 2 % of the image's diagonal wide, and so shows the
difference that crisp masks make (Cheng et al., Boundary IoU, arXiv:2103.16562).
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from faster_coco_eval import COCO, COCOeval_faster
from tqdm import tqdm

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.config.instance import MaskRCNNConfig
from model.data.coco import CocoDataset, read_image
from model.data.fields import DataError, are_finite, integer, label_of, value
from model.masks.rle import decompress
from model.predict.instance import InstanceOptions, InstancePredictor, coco_result

_KINDS = {"box": "bbox", "mask": "segm", "boundary": "boundary"}
_METRICS = {
    "AP": "AP_all",
    "AP50": "AP_50",
    "AP75": "AP_75",
    "APs": "AP_small",
    "APm": "AP_medium",
    "APl": "AP_large",
}
_UNMEASURED = dict.fromkeys(_METRICS, math.nan)
_INTEGERS = {  # that entries of a COCO file must have
    "images": ("id", "width", "height"),
    "categories": ("id",),
    "annotations": ("image_id", "category_id"),
}
_SHOWN = 5  # names listed in one message


@dataclass(frozen=True)
class Results:
    """COCO results, and for which images and categories of the data they were made (None: for all)."""

    entries: list[Any]
    image_ids: list[int] | None = None
    category_ids: list[int] | None = None


def evaluate(
    annotations: Path,
    results: Sequence[Mapping[str, Any]],
    category_ids: Collection[int] | None = None,
    image_ids: Collection[int] | None = None,
) -> dict[str, float]:
    """Average precision, 0 to 1, under "box/AP", "mask/APl", "boundary/AP50" and so on.

    `results` are COCO results: image_id, category_id, bbox [x, y, w, h], score, segmentation (compressed
    RLE); those without a segmentation count as boxes only. `category_ids` and `image_ids` limit what is
    measured. Images with any annotation that has no segmentation are left out for masks and boundaries. A
    metric for which there is no ground truth (such as APs without small objects) is NaN, and so are those
    of masks and boundaries when no result has a segmentation.

    Raises ValueError that names the first result or annotation that cannot be used.
    """
    data = _read_data(annotations)
    sizes = {image["id"]: [image["height"], image["width"]] for image in data["images"]}
    if image_ids is not None:
        if foreign := sorted(set(image_ids) - sizes.keys()):
            raise ValueError(f"the results are for image {foreign[0]}, which is not in {annotations.name}")
        sizes = {i: sizes[i] for i in sorted(set(image_ids))}
    known = {category["id"] for category in data["categories"]}
    for position, result in enumerate(results):
        if problem := _problem(result, sizes, known):
            raise ValueError(f"result {position} {problem}")
    wanted = sorted(known if category_ids is None else known & set(category_ids))
    masks = not results or any(result.get("segmentation") for result in results)
    return {
        f"{kind}/{metric}": precision
        for kind, iou_type in _KINDS.items()
        for metric, precision in (
            _precision(data, results, wanted, sizes, iou_type) if masks or kind == "box" else _UNMEASURED
        ).items()
    }


def read_results(path: Path) -> Results:
    """A COCO results list, or what `write_results` wrote. Raises ValueError, OSError."""
    data = _json(path)
    if isinstance(data, list):
        return Results(data)
    if isinstance(data, dict) and isinstance(data.get("results"), list):
        ids = [data.get(key) for key in ("image_ids", "category_ids")]
        if all(i is None or (isinstance(i, list) and all(isinstance(n, int) for n in i)) for i in ids):
            return Results(data["results"], *ids)
    raise ValueError(f"{path}: neither a COCO results list nor a file that `evaluate --out` wrote")


def write_results(path: Path, metrics: Mapping[str, float], results: Results) -> None:
    """Metrics (null: not measured) and results as JSON."""
    data = {
        "metrics": {key: None if math.isnan(metric) else metric for key, metric in metrics.items()},
        "image_ids": results.image_ids,
        "category_ids": results.category_ids,
        "results": results.entries,
    }
    path.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")


def match_classes(checkpoint: Checkpoint, categories: Sequence[Category]) -> dict[int, Category]:
    """The data's category for each class index of the checkpoint, by name; classes without one are left out.

    An imported file names no classes; if those assumed for it are not in the data, its classes are
    the data's, which the reference orders by id. Raises ValueError if nothing matches.
    """
    own = checkpoint.categories
    named = {category.name: category for category in categories}
    if found := {i: named[c.name] for i, c in enumerate(own) if c.name in named}:
        return found
    if "imported_from" not in checkpoint.notes:
        raise ValueError(
            f"the checkpoint's classes ({listed(own)}) are not among the data's ({listed(categories)})"
        )
    if len(own) != len(categories):
        raise ValueError(
            f"the checkpoint names no classes and has {len(own)} of them, the data have {len(categories)}"
        )
    return dict(enumerate(sorted(categories, key=lambda category: category.id)))


def predict(
    checkpoint: Checkpoint[MaskRCNNConfig],
    dataset: CocoDataset,
    classes: Mapping[int, Category],
    options: InstanceOptions,
    limit: int | None = None,
) -> Results:
    """Run a checkpoint at its own score threshold on the first images (None: all), for the given classes."""
    own = tuple(classes.get(i, category) for i, category in enumerate(checkpoint.categories))
    predictor = replace(eager_predictor(checkpoint), categories=own)
    options = replace(options, score=0.0, classes=frozenset(classes))
    return Results(
        coco_results(predictor, dataset, options, limit=limit),
        image_ids=[record.image_id for record in dataset.records[:limit]],
        category_ids=[category.id for category in classes.values()],
    )


def coco_results(
    predictor: InstancePredictor, dataset: CocoDataset, options: InstanceOptions, limit: int | None = None
) -> list[dict[str, Any]]:
    """Results on a data set, with a progress bar (that vanishes if it stands below another one)."""
    results = []
    for record in tqdm(dataset.records[:limit], "predicting", unit="image", leave=None):
        for region in predictor(read_image(record), options):
            category = predictor.categories[region.category]
            results.append(coco_result(region, category, record.image_id, record.width, record.height))
    return results


def listed(categories: Sequence[Category]) -> str:
    """The first names, for a message."""
    rest = len(categories) - _SHOWN
    return ", ".join(c.name for c in categories[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _precision(
    data: dict[str, Any],
    results: Sequence[Mapping[str, Any]],
    category_ids: list[int],
    sizes: Collection[int],
    iou_type: str,
) -> dict[str, float]:
    # The library writes into both sides' dictionaries, hence the copies. A result's size class is the area
    # of what is compared, so only that part is handed over. To the library, an annotation of id 0 is none.
    measured, other = ("bbox", "segmentation") if iou_type == "bbox" else ("segmentation", "bbox")
    known = [
        a | {"id": i, "area": a.get("area", a["bbox"][2] * a["bbox"][3])}
        for i, a in enumerate(data["annotations"], 1)
        if a["image_id"] in sizes
    ]
    unknown = {a["image_id"] for a in known if not a.get(measured) and a["category_id"] in category_ids}
    image_ids = [image_id for image_id in sizes if image_id not in unknown]
    if not image_ids or not category_ids:
        return _UNMEASURED

    truth = COCO(data | {"annotations": [a for a in known if a.get(measured)]}, print_function=_silent)
    found = truth.loadRes([{k: v for k, v in r.items() if k != other} for r in results if r.get(measured)])
    evaluation = COCOeval_faster(truth, found, iou_type, print_function=_silent)
    evaluation.params.imgIds = image_ids
    evaluation.params.catIds = category_ids
    evaluation.run()
    stats = evaluation.stats_as_dict
    return {metric: stats[key] if stats[key] >= 0 else math.nan for metric, key in _METRICS.items()}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error


def _read_data(path: Path) -> dict[str, Any]:
    """A COCO file whose entries have what is read here."""
    data = _json(path)
    for part, keys in _INTEGERS.items():
        if not isinstance(data, dict) or not isinstance(data.get(part), list):
            raise DataError(f"{path}: not a COCO file, it has no list {part!r}")
        for entry in data[part]:
            try:
                for key in keys:
                    integer(entry, key)
                if part == "annotations" and not _is_box(value(entry, "bbox")):
                    raise DataError(f"box must be 4 finite numbers, got {entry['bbox']}")
            except DataError as error:
                raise DataError(f"{path}: entry {label_of(entry)} of {part!r}: {error}") from error
    return dict(data)


def _problem(result: Any, sizes: Mapping[int, list[int]], category_ids: Collection[int]) -> str | None:
    """What makes a result unusable."""
    if not isinstance(result, Mapping):
        return "is not an object"
    if missing := {"image_id", "category_id", "bbox", "score"} - result.keys():
        return f"has no {', '.join(sorted(missing))}"
    image_id, category_id = result["image_id"], result["category_id"]
    if not isinstance(image_id, int) or image_id not in sizes:
        return f"is for image {image_id!r}, which is not measured"
    if not isinstance(category_id, int) or category_id not in category_ids:
        return f"is of category {category_id!r}, which the data do not have"
    if not _is_box(result["bbox"]):
        return f"has a bbox that is not 4 finite numbers: {result['bbox']}"
    if not are_finite([result["score"]]):
        return f"has a score that is not a finite number: {result['score']}"
    if result.get("segmentation") and not _is_rle(result["segmentation"], sizes[image_id]):
        height, width = sizes[image_id]
        return f"has a segmentation that is not a compressed RLE of height {height} and width {width}"
    return None


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and are_finite(box)


def _is_rle(segmentation: Any, size: list[int]) -> bool:
    try:
        counts = decompress(segmentation["counts"])
        return bool(segmentation["size"] == size and counts.sum() == math.prod(size))
    except (AttributeError, KeyError, TypeError, ValueError):
        return False


def _silent(*_: object) -> None:
    """Instead of printing."""
