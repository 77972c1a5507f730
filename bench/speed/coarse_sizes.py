"""`python -m bench.speed.coarse_sizes`: the duration of a bundle's coarse pass, by input size, batch and engine.

The engines take turns, so that their ratios hold on a machine that is busy for a while. Whether threads should spin is
also a question of what else runs: start several of these at once, or one in a container with a quota.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image

from bench.markdown import table
from bench.speed.row import in_turns
from export.bundle import open_bundle
from export.execution import Execution, has_bf16, has_openvino
from model.command_line import one_line_errors
from model.errors import UserError
from model.predict.coarse import no_prompts
from model.predict.predictor import Run
from model.predict.preprocess import network_input
from service.machine import available


def engines(threads: int) -> dict[str, Execution]:
    """Return what may run a graph on this machine's CPU, by name."""
    found = {
        "ONNX Runtime": Execution(threads=threads),
        "ONNX Runtime, spinning": Execution(threads=threads, spin=True),
    }
    if has_bf16() and has_openvino():
        found["OpenVINO, bf16"] = Execution(threads=threads, precision="bf16")
    return found


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of an exported model.")] = Path("bundles/people"),
    image: Annotated[Path, typer.Option(help="A picture, stretched to every size.")] = Path(
        "examples/grace_hopper.jpg"
    ),
    size: Annotated[list[str] | None, typer.Option(help="height×width (or 416x576); repeat.")] = None,
    batch: Annotated[list[int] | None, typer.Option(min=1, help="Images in a pass; repeat.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 7,
) -> None:
    """Print the milliseconds of an image, medians of several passes."""
    threads = available()
    torch.set_num_threads(threads)
    predictors = {name: open_bundle(bundle, each).predictor for name, each in engines(threads).items()}
    runs: dict[str, Run] = {name: predictor.run for name, predictor in predictors.items()}
    pixels = next(iter(predictors.values())).preprocessing
    rows = []
    with Image.open(image) as opened:
        picture = opened.convert("RGB")
    for text in size or ["416x576", "448x608", "480x640"]:
        if not (sides := re.fullmatch("([0-9]{2,4})[x×]([0-9]{2,4})", text)):
            raise UserError(f"--size must be height×width, got {text!r}")
        height, width = int(sides[1]), int(sides[2])
        one = torch.from_numpy(np.asarray(picture.resize((width, height))).transpose(2, 0, 1).copy())
        for count in batch or [1]:
            images, sizes = network_input([one] * count, pixels)
            inputs = {"image": images, "size": sizes} | no_prompts()
            found = in_turns({name: partial(run, inputs) for name, run in runs.items()}, repeats)
            rows.append(
                (f"{height}×{width}", str(count), *(f"{1000 * s / count:.0f} ms" for s in found.values()))
            )
    print(table(("input", "batch", *runs), rows))


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
