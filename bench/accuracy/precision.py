"""`python -m bench.accuracy.precision`: what a bundle loses in other precisions, on annotated pictures.

Average precision for instance masks, mean IoU for label maps: each combination that this machine has, beside fp32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from bench.markdown import table
from export.bundle import Bundle, open_bundle
from export.execution import Execution, Precision, has_bf16, has_openvino
from model.command_line import one_line_errors
from model.data.coco import load_coco
from model.data.label_maps import load_label_maps
from model.errors import UserError
from model.evaluation.coco_ap import average_precision
from model.evaluation.instance import coco_results
from model.evaluation.label_maps import measure
from model.evaluation.true_boxes import measure_in_true_boxes
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.label_map import LabelMapOptions, LabelMapPredictor
from service.machine import available

SHOWN = {"instance": ("box/AP", "mask/AP", "boundary/AP"), "semantic": ("mIoU", "boundary mIoU")}
IN_TRUE_BOXES = ("iou/all", "boundary_iou/all")


@dataclass(frozen=True)
class Accuracy:
    """What a bundle reaches with these precisions."""

    coarse_pass: Precision
    point_head: Precision
    metrics: dict[str, float]


def executions() -> list[Execution]:
    """Return all combinations of precisions that this machine has, fp32 first."""
    threads = available()
    found = [Execution(threads=threads)]
    if has_bf16():
        found.append(Execution(threads=threads, head_precision="bf16"))
        if has_openvino():
            found.append(Execution(threads=threads, precision="bf16", head_precision="bf16"))
    return found


def metrics(
    bundle: Bundle, data: Path, images: Path, limit: int | None, *, true_boxes: bool = False
) -> dict[str, float]:
    """Return the metrics of a bundle of any task on the first images (None: all).

    With `true_boxes` masks are predicted in the annotated boxes of all categories, by the only class of the bundle.
    """
    if true_boxes:
        if len(bundle.manifest.categories) != 1:
            raise UserError("--true-boxes is for a bundle of one class")
        predictor, dataset = cast(InstancePredictor, bundle.predictor), load_coco(data, images)
        classes = dict.fromkeys(dataset.categories, 0)
        found, _ = measure_in_true_boxes(predictor, data, dataset, classes, InstanceOptions(), limit)
        return {name: found[name] for name in IN_TRUE_BOXES}
    if bundle.manifest.task == "instance":
        dataset = load_coco(data, images)
        options = InstanceOptions(score=0.0)
        results = coco_results(cast(InstancePredictor, bundle.predictor), dataset, options, limit)
        own = [category.id for category in bundle.manifest.categories]
        found = average_precision(data, results, own, [r.image_id for r in dataset.records[:limit]])
    else:
        maps = load_label_maps(data, images)
        found, _ = measure(cast(LabelMapPredictor, bundle.predictor), maps, LabelMapOptions(), limit)
    return {name: found[name] for name in SHOWN[bundle.manifest.task]}


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")],
    data: Annotated[
        Path, typer.Option(help="COCO-format annotations, or the JSON file of label maps' classes.")
    ],
    images: Annotated[Path, typer.Option(help="Folder of the images, or of the pairs of label maps.")],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first images.")] = None,
    true_boxes: Annotated[
        bool, typer.Option("--true-boxes", help="Masks in the annotated boxes, by a bundle of one class.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
) -> None:
    """Print the metrics at each precision."""
    rows = []
    for execution in executions():
        found = metrics(open_bundle(bundle, execution), data, images, limit, true_boxes=true_boxes)
        rows.append(Accuracy(execution.precision, execution.head_precision, found))
    names = list(rows[0].metrics)
    cells = [(r.coarse_pass, r.point_head, *(f"{r.metrics[name]:.4f}" for name in names)) for r in rows]
    print(table(("coarse pass", "point head", *names), cells))
    if out is not None:
        out.write_text(json.dumps([vars(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
