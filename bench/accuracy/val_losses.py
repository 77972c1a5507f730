"""`python -m bench.accuracy.val_losses`: training losses of several checkpoints on held-out images, image by image.

AP of a few images cannot tell small changes of a recipe apart. Here each checkpoint sees the same images with the
same seeds, and the difference is taken image by image. Regions are still drawn from each checkpoint's own proposals,
and masks sit in its own boxes, as when it trains.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from tqdm import tqdm

from bench.paper.heads.overlap import mean
from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.config.instance import MaskRCNNConfig
from model.config.overrides import override
from model.data.augment import Augmentation
from model.data.coco import CocoDataset, load_coco
from model.data.instance_samples import InstanceTrainingSet, collate_instances
from model.networks.build import build_network
from model.predict.preprocess import network_input
from model.training.losses.instance import instance_losses
from model.training.recipe import Sampling
from model.training.recipes import INSTANCE_RECIPES

Floats = NDArray[np.float64]
TOTALS = {"boxes": ("rpn_objectness", "rpn_box", "box_class", "box_regression")}  # the rest: "masks"


@torch.inference_mode()
def image_losses(
    checkpoint: Checkpoint[MaskRCNNConfig], dataset: CocoDataset, sampling: Sampling
) -> dict[str, Floats]:
    """Every loss [images], and the sums "boxes" and "masks", at the checkpoint's input size, nothing augmented."""
    pixels = checkpoint.config.preprocessing
    plain = Augmentation((pixels.short_edge,), pixels.long_edge, flip=0.0)
    network, samples = (
        build_network(checkpoint.config, checkpoint.tensors),
        InstanceTrainingSet([dataset], plain),
    )
    rows = []
    for index in tqdm(range(len(samples)), unit="image"):
        batch = collate_instances([samples[index]])
        images, sizes = network_input(batch.images, pixels)
        draws = torch.Generator().manual_seed(index)
        found = instance_losses(network, images, sizes, batch.targets, sampling, draws)
        rows.append({name: value.item() for name, value in found.items()})
    by_name = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    for name in by_name.keys() - set(TOTALS["boxes"]):  # a mask loss of exactly 0 is one over no region
        by_name[name][by_name[name] == 0] = math.nan
    boxes = sum(by_name[name] for name in TOTALS["boxes"])
    masks = sum(values for name, values in by_name.items() if name not in TOTALS["boxes"])
    return by_name | {"boxes": np.asarray(boxes), "masks": np.asarray(masks)}


def table(found: Mapping[str, Mapping[str, Floats]], names: Sequence[str]) -> str:
    """Means of the named losses; but for the first checkpoint the difference to it and that one's standard error."""
    (_, reference), *_ = found.items()
    lines = ["| | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, values in found.items():
        cells = []
        for name in names:
            change = values[name] - reference[name]
            paired = mean(change[~np.isnan(change)])
            own = f"{np.nanmean(values[name]):.4f}"
            cells.append(own if values is reference else f"{own} ({paired.mean:+.4f} ± {paired.error:.4f})")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    checkpoint: Annotated[
        list[Path],
        typer.Option(help="Native .safetensors; repeat, the first is what others are compared with."),
    ],
    data: Annotated[Path, typer.Option(help="COCO-format annotations with masks.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a part of every network, such as preprocessing.short_edge=448."),
    ] = None,
    every: Annotated[bool, typer.Option(help="Every loss, not only the sums.")] = False,
) -> None:
    """Print mean losses with their paired differences."""
    dataset, found = load_coco(data, images), {}
    opened = {path: of_task(open_checkpoint(path), "instance") for path in checkpoint}
    for path, one in opened.items():
        if [c.name for c in one.categories] != [c.name for c in dataset.categories]:
            raise ValueError(f"{path}: its classes are not the data's, in the order of their ids")
        if type(one.config.mask) is not type(opened[checkpoint[0]].config.mask):
            raise ValueError(f"{path}: its mask head has other losses than that of {checkpoint[0]}")
    for path, one in opened.items():
        changed = replace(one, config=override(one.config, change or []))
        found[str(path)] = image_losses(changed, dataset, INSTANCE_RECIPES["people"].sampling)
    names = [name for name in next(iter(found.values())) if every or name in ("boxes", "masks")]
    print(table(found, names))


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
