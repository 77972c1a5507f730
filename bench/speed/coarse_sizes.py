"""`python -m bench.speed.coarse_sizes`: the duration of a bundle's coarse pass, by input size and batch."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from bench.speed.table import seconds
from export.bundle import open_bundle
from export.session import Execution
from model.command_line import one_line_errors
from model.errors import UserError
from model.predict.coarse import no_prompts
from model.predict.preprocess import network_input
from service.machine import available


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")] = Path("bundles/people"),
    image: Annotated[Path, typer.Option(help="A picture, stretched to every size.")] = Path(
        "examples/grace_hopper.jpg"
    ),
    size: Annotated[list[str] | None, typer.Option(help="height×width (or 416x576); repeat.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images in a pass; repeat.")] = None,
) -> None:
    """Print the milliseconds of an image, medians of five passes."""
    threads = available()
    predictor = open_bundle(bundle, Execution("cpu", threads)).predictor
    torch.set_num_threads(threads)
    batches = batch or [1]
    print("| input | " + " | ".join(f"batch {count}" for count in batches) + " |")
    print("|---" * (len(batches) + 1) + "|")
    with Image.open(image) as opened:
        picture = opened.convert("RGB")
    for text in size or ["416x576", "448x608", "480x640"]:
        if not (sides := re.fullmatch("([0-9]{2,4})[x×]([0-9]{2,4})", text)):
            raise UserError(f"--size must be height×width, got {text!r}")
        height, width = int(sides[1]), int(sides[2])
        pixels = torch.from_numpy(np.asarray(picture.resize((width, height))).transpose(2, 0, 1).copy())
        cells = []
        for count in batches:
            images, sizes = network_input([pixels] * count, predictor.preprocessing)
            inputs = {"image": images, "size": sizes} | no_prompts()
            cells.append(f"{1000 * seconds(partial(predictor.run, inputs)) / count:.0f} ms")
        print(f"| {height}×{width} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
