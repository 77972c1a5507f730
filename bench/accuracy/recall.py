"""`python -m bench.accuracy.recall`: the share of the true boxes that anchors, proposals and detections reach.

It shows whether a detector's anchors fit its data, and at which stage objects are lost.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from torchvision.ops import box_iou
from tqdm import tqdm

from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.command_line import one_line_errors
from model.config.instance import MaskRCNNConfig
from model.config.overrides import override
from model.data.coco import CocoDataset, load_coco, read_image
from model.networks.build import build_network
from model.predict.preprocess import network_input
from model.predict.resize import resize

# COCO's sizes of objects: least and largest area in pixels of the image.
SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 10**12)}


@torch.inference_mode()
def best_overlaps(
    checkpoint: Checkpoint[MaskRCNNConfig], dataset: CocoDataset
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return areas [N] of the true boxes in pixels of their images, and the best IoU [N] with any box of each stage."""
    network = build_network(checkpoint.config, checkpoint.tensors)
    areas, best = [], {"anchors": [], "proposals": [], "detections": []}  # type: ignore[var-annotated]
    for record in tqdm([r for r in dataset.records if r.annotations], unit="image"):
        pixels = torch.from_numpy(
            resize(read_image(record), checkpoint.config.preprocessing).transpose(2, 0, 1)
        )
        image, size = network_input([pixels.contiguous()], checkpoint.config.preprocessing)
        pyramid = network.backbone(image)
        _, _, anchors = network.rpn(pyramid)
        proposals = network.propose(pyramid, size)
        stages = (torch.cat(anchors), proposals.boxes[0], network.detect(pyramid, proposals, size).boxes)
        true = torch.from_numpy(record.boxes()).float()
        areas.append((true[:, 2] - true[:, 0]) * (true[:, 3] - true[:, 1]))
        scaled = true * (pixels.shape[1] / record.height)
        for found, boxes in zip(best.values(), stages, strict=True):
            overlap = box_iou(scaled, boxes)
            found.append(overlap.max(1).values if len(boxes) else overlap.new_zeros(len(true)))
    return torch.cat(areas), {stage: torch.cat(parts) for stage, parts in best.items()}


def main(
    checkpoint: Annotated[Path, typer.Option()],
    data: Annotated[Path, typer.Option(help="COCO-format annotations.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    change: Annotated[
        list[str] | None, typer.Option("--set", help="As in `python -m model evaluate`.")
    ] = None,
) -> None:
    """Print recall at IoU 0.5 and 0.7 by size of the true box."""
    opened = of_task(open_checkpoint(checkpoint), "instance")
    opened = replace(opened, config=override(opened.config, change or []))
    areas, best = best_overlaps(opened, load_coco(data, images))
    print("| | " + " | ".join(f"{size} ≥ {bar}" for size in SIZES for bar in (0.5, 0.7)) + " |")
    print("|---" * 7 + "|")
    for stage, overlaps in best.items():
        shares = [
            (overlaps[(areas >= low) & (areas < high)] >= bar).float().mean().item()
            for low, high in SIZES.values()
            for bar in (0.5, 0.7)
        ]
        print(f"| {stage} | " + " | ".join(f"{share:.2f}" for share in shares) + " |")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
