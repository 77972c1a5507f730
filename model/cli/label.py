"""`python -m model label`: masks for annotations that have only a box."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from model.cli.output import check_output, warn


def label(
    data: Annotated[Path, typer.Option(help="COCO-format annotations, some with boxes alone.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    checkpoint: Annotated[Path, typer.Option(help="Native .safetensors of a trained model.")],
    out: Annotated[Path, typer.Option(help="The same file with masks in it.")],
    least_side: Annotated[float, typer.Option(min=0, help="Pixels; narrower boxes stay boxes.")] = 16,
    certainty: Annotated[
        float, typer.Option(min=0, max=1, help="Masks that the model is less sure of stay boxes.")
    ] = 0.8,
) -> None:
    """Give masks to annotations that have only a box, so that they train masks, too (self-training)."""
    # Imported here so that the help need not wait for PyTorch.
    from model.checkpoints.checkpoint import of_task, open_checkpoint
    from model.checkpoints.eager import eager_predictor
    from model.data.coco import load_coco
    from model.data.fields import read_json
    from model.training.pseudo_label import label_boxes, with_masks

    check_output(out)
    dataset = load_coco(data, images)
    for remark in dataset.remarks:
        warn(remark)
    predictor = eager_predictor(of_task(open_checkpoint(checkpoint), "instance"))
    content = read_json(data)
    found: dict[int, Any] = {}
    try:
        for masks in label_boxes(predictor, dataset, least_side, certainty):
            found |= masks
    finally:  # of an interrupted run, too: with its `out` as --data the next one goes on
        partial = out.with_name(f"{out.name}.partial")  # `out` may be `data` itself, and is whole at any time
        partial.write_text(json.dumps(with_masks(content, found)), encoding="utf-8")
        partial.replace(out)
    boxes = sum(a.shape is None for r in dataset.records for a in r.annotations)
    print(f"{out}: masks for {len(found)} of {boxes} boxes")
