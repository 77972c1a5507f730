"""`python -m bench.speed.coarse_sizes`: what a coarse pass of a bundle costs, by input size and batch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from bench.speed.table import seconds
from export.bundle import open_bundle
from export.session import Execution
from model.predict.coarse import no_prompts
from model.predict.preprocess import network_input
from service.threads import available


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")] = Path("bundles/people"),
    image: Annotated[Path, typer.Option(help="A picture, stretched to every size.")] = Path(
        "examples/grace_hopper.jpg"
    ),
    size: Annotated[list[str] | None, typer.Option(help="height×width (or 416x576); repeat.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images of a pass; repeat.")] = None,
) -> None:
    """Print milliseconds an image, the median of five."""
    threads = available()
    predictor = open_bundle(bundle, Execution("cpu", threads)).predictor
    torch.set_num_threads(threads)
    batches = batch or [1]
    print("| input | " + " | ".join(f"batch {count}" for count in batches) + " |")
    print("|---" * (len(batches) + 1) + "|")
    with Image.open(image) as opened:
        picture = opened.convert("RGB")
    for text in size or ["416x576", "448x608", "480x640"]:
        height, width = (int(side) for side in text.replace("×", "x").split("x"))
        pixels = torch.from_numpy(np.asarray(picture.resize((width, height))).transpose(2, 0, 1).copy())
        cells = []
        for count in batches:
            images, sizes = network_input([pixels] * count, predictor.preprocessing)
            inputs = (images, sizes, *no_prompts())
            cells.append(f"{1000 * seconds(lambda i=inputs: predictor.run(*i)) / count:.0f} ms")  # type: ignore[misc]
        print(f"| {height}×{width} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    try:
        typer.run(main)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
