"""`python -m bench.dense --ultralytics PYTHON --inference PYTHON`: 20 masks of 12 megapixels, from boxes on.

Each library runs in an environment of its own, whose Python is given:

    python -m venv out/ultralytics && out/ultralytics/bin/pip install ultralytics
    python -m venv out/inference && out/inference/bin/pip install inference-cpu

What is measured begins when the network is done. Ours renders the masks in these boxes and writes COCO run lengths; the
others combine prototypes, enlarge them to the picture, and follow the outlines of the bitmaps.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Annotated, cast

import numpy as np
import typer
from PIL import Image

from bench.dense.peers import measured
from bench.markdown import table
from export.bundle import open_bundle
from export.execution import choose_execution
from model.command_line import one_line_errors
from model.errors import UserError
from model.masks import rle
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.predictor import Prompt
from service.machine import available

WIDTH, HEIGHT, MASKS = 4000, 3000, 20
PEERS = Path(__file__).with_name("peers.py")


def boxes() -> list[list[float]]:
    """Return the boxes of objects of 200 to 1200 pixels."""
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, (WIDTH - 1200, HEIGHT - 1200), (MASKS, 2))
    ends = corner + rng.uniform(200, 1200, (MASKS, 2))
    return cast(list[list[float]], np.concatenate([corner, ends], 1).tolist())


def ours(bundle: Path, picture: Path, repeats: int) -> dict[str, float]:
    """Measure this project's way, with a bundle of instances."""
    predictor = open_bundle(bundle, choose_execution("cpu", threads=available())).predictor
    if not isinstance(predictor, InstancePredictor):
        raise UserError(f"{bundle} is no bundle of instances")
    with Image.open(picture) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    options = InstanceOptions(prompts=tuple(Prompt((x0, y0, x1, y1), 0) for x0, y0, x1, y1 in boxes()))
    one = predictor.prepare(pixels, options)
    coarse = predictor.coarse([one])

    def work() -> list[str]:
        prediction = predictor.begin(coarse, 0, one, options)
        predictor.render([prediction])
        masks = prediction.finish().parts
        return [rle.compress(rle.counts_of(mask.runs(WIDTH, HEIGHT), WIDTH, HEIGHT)) for mask in masks]

    return measured(work, repeats)


def theirs(library: str, python: Path, repeats: int) -> dict[str, float]:
    """Measure a library's way in its own environment. Raises UserError if that fails."""
    asked = {"library": library, "boxes": boxes(), "width": WIDTH, "height": HEIGHT, "repeats": repeats}
    done = subprocess.run([python, PEERS], input=json.dumps(asked), capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip() or f"exit status {done.returncode}"
        raise UserError(f"{python} cannot run {library}: {said.splitlines()[-1]}")
    return cast(dict[str, float], json.loads(done.stdout.splitlines()[-1]))


def main(
    ultralytics: Annotated[
        Path | None, typer.Option(help="Python of an environment with ultralytics.")
    ] = None,
    inference: Annotated[
        Path | None, typer.Option(help="Python of an environment with inference-cpu.")
    ] = None,
    bundle: Annotated[Path, typer.Option(help="A bundle of instances.")] = Path("bundles/people"),
    picture: Annotated[Path, typer.Option()] = Path("examples/astronaut.jpg"),
    repeats: Annotated[int, typer.Option(min=1)] = 5,
) -> None:
    """Print milliseconds and memory of each way. Nothing else should run on the machine meanwhile."""
    found = {"PointRend, rendered, to run lengths": ours(bundle, picture, repeats)}
    peers = {"ultralytics": ultralytics, "inference": inference}
    for library, python in peers.items():
        if python is not None:
            found[f"{library}, bitmaps, to polygons"] = theirs(library, python, repeats)
    rows = [(way, f"{value['ms']:.0f}", f"{value['MB']:.0f}") for way, value in found.items()]
    print(table(("way", "ms", "MB beyond what was held"), rows))


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
