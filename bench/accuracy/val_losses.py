"""`python -m bench.accuracy.val_losses`: training losses of several checkpoints on held-out images, compared in pairs.

AP of a few images is too noisy to compare small changes of a recipe. Here each checkpoint sees the same images with the
same seeds, and differences are taken image by image. Regions come from each checkpoint's own proposals, and masks are
predicted in its own boxes, as in training.
"""

from __future__ import annotations

import math
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
from model.command_line import one_line_errors
from model.config.instance import MaskRCNNConfig
from model.config.overrides import override
from model.data.augment import Augmentation
from model.data.coco import CocoDataset, load_coco
from model.data.instance_samples import InstanceTrainingSet, collate_instances
from model.errors import UserError
from model.networks.build import build_network
from model.predict.preprocess import network_input
from model.training.losses.instance import instance_losses
from model.training.recipe import Sampling
from model.training.recipes import INSTANCE_RECIPES

Floats = NDArray[np.float64]
MASKS = "mask"  # what the names of mask losses begin with; the others are of boxes


@torch.inference_mode()
def image_losses(
    checkpoint: Checkpoint[MaskRCNNConfig], dataset: CocoDataset, sampling: Sampling
) -> dict[str, Floats]:
    """Return every loss [images], and the sums "boxes" and "masks", at the checkpoint's input size, not augmented."""
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
    of_masks = {name for name in by_name if name.startswith(MASKS)}
    for name in of_masks:  # a mask loss of exactly 0 means that there was no region
        by_name[name][by_name[name] == 0] = math.nan
    boxes = sum(values for name, values in by_name.items() if name not in of_masks)
    masks = sum(by_name[name] for name in of_masks)
    return by_name | {"boxes": np.asarray(boxes), "masks": np.asarray(masks)}


def table(found: Mapping[str, Mapping[str, Floats]], names: Sequence[str]) -> str:
    """Return means of the named losses, with the difference to the first checkpoint ± its standard error."""
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
        typer.Option(help="Native .safetensors; repeat. The others are compared with the first."),
    ],
    data: Annotated[Path, typer.Option(help="COCO-format annotations with masks.")],
    images: Annotated[Path, typer.Option(help="Folder of their images.")],
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a part of every network, such as preprocessing.short_edge=448."),
    ] = None,
    every: Annotated[bool, typer.Option(help="Print every loss, not only the sums.")] = False,
) -> None:
    """Print mean losses, and paired differences to the first checkpoint."""
    dataset, found = load_coco(data, images), {}
    opened = {path: of_task(open_checkpoint(path), "instance") for path in checkpoint}
    for path, one in opened.items():
        if [c.name for c in one.categories] != [c.name for c in dataset.categories]:
            raise UserError(f"{path}: its classes are not the data's, in the order of their ids")
        if type(one.config.mask) is not type(opened[checkpoint[0]].config.mask):
            raise UserError(f"{path}: its mask head has other losses than that of {checkpoint[0]}")
    for path, one in opened.items():
        changed = replace(one, config=override(one.config, change or []))
        found[str(path)] = image_losses(changed, dataset, INSTANCE_RECIPES["people"].sampling)
    names = [name for name in next(iter(found.values())) if every or name in ("boxes", "masks")]
    print(table(found, names))


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
