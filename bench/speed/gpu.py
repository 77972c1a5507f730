"""`python -m bench.speed.gpu`: rendering on a GPU, against the published way there and against a renderer on the host.

The same masks are rendered and encoded in three ways: on the device, to run lengths; on the device as published, in
eager PyTorch, and pasted into bitmaps; and on the host, to which the maps are copied. Every run is waited for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from bench.markdown import table
from bench.speed import reference_way
from bench.speed.scene import Scene, scene
from export.execution import gpu_name
from model.command_line import one_line_errors
from model.masks.tensor_runs import runs_of_masks
from model.pointrend.instance import finest
from model.pointrend.point_head import PointHead
from model.pointrend.render import points_that_fit, render
from model.predict.instance import MOST_RUNS

IMAGE = (1216, 800)  # width and height
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
HEADER = ("images", "instances each", "side", "precision", "way", "p50, ms", "p99, ms", "masks/s")


@dataclass(frozen=True)
class Measured:
    """How long one way takes for some images at once."""

    images: int
    instances: int  # of each image
    side: int
    precision: str
    way: str
    p50: float  # milliseconds
    p99: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        rate = 1000 * self.images * self.instances / self.p50
        numbers = (f"{self.p50:.1f}", f"{self.p99:.1f}", f"{rate:,.0f}")
        return (str(self.images), str(self.instances), str(self.side), self.precision, self.way, *numbers)


def ours(scenes: Sequence[Scene], side: int, precision: torch.dtype) -> None:
    """Render the masks of all images together where their maps are, and find their runs there."""
    head = scenes[0].head
    head.precision = precision
    every = [r for own in scenes for r in own.begun(side, None)]
    render(every, head, points_that_fit(scenes[0].boxes.device, head.dim))
    boxes = [box for own in scenes for box in own.boxes.tolist()]
    runs_of_masks(finest(every).sigmoid(), [r.level for r in every], boxes, *IMAGE, MOST_RUNS)


def published(scenes: Sequence[Scene], side: int) -> None:
    """Render the masks of each image as published, and paste them into bitmaps of the image."""
    for own in scenes:
        inputs = own.features, own.coarse, own.boxes, own.classes
        masks = reference_way.subdivide(*inputs, own.head, side, 784).sigmoid()
        reference_way.paste_and_encode(masks.cpu(), own.boxes.cpu(), *IMAGE)


def on_the_host(scenes: Sequence[Scene], side: int, head: PointHead) -> None:
    """Copy the maps of all images to the host, where the head is, and render and encode there."""
    ours([own.copied("cpu", head) for own in scenes], side, torch.float32)


def percentiles(work: Callable[[], None], device: str, repeats: int) -> tuple[float, float]:
    """Return the 50th and the 99th percentile of the milliseconds of a work, after two runs to warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - start))
    low, high = np.percentile(times[2:], (50, 99))
    return float(low), float(high)


@torch.inference_mode()
def measure(
    images: int, instances: int, sides: Sequence[int], precisions: Sequence[str], device: str, repeats: int
) -> list[Measured]:
    """Measure all ways for images of so many instances each."""
    first = scene(instances, device=device)
    scenes = [first, *(first.copied(device) for _ in range(images - 1))]
    host = first.copied("cpu")
    found = []

    def add(side: int, precision: str, way: str, work: Callable[[], None]) -> None:
        times = percentiles(work, device, repeats)
        found.append(Measured(images, instances, side, precision, way, *times))

    for side in sides:
        for name in precisions:
            add(side, name, "ours", partial(ours, scenes, side, PRECISIONS[name]))
        add(side, "fp32", "published, eager", partial(published, scenes, side))
        add(side, "fp32", "on the host", partial(on_the_host, scenes, side, host.head))
    return found


def main(
    images: Annotated[list[int] | None, typer.Option(min=1, help="Images at once; repeat.")] = None,
    instances: Annotated[list[int] | None, typer.Option(min=1, help="Of each image; repeat.")] = None,
    side: Annotated[list[int] | None, typer.Option(min=28, help="Of the masks; repeat.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32, bf16, fp16; repeat.")] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 20,
    device: Annotated[str, typer.Option(help="cpu shows that it runs; its times say nothing.")] = "cuda",
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
) -> None:
    """Print a table for every combination. Nothing else should run on the GPU meanwhile."""
    name = gpu_name() if device == "cuda" else "CPU"
    rows = []
    for batch, count in product(images or (1, 4, 8), instances or (1, 10, 100)):
        rows += measure(batch, count, side or (56, 224, 896), precision or tuple(PRECISIONS), device, repeats)
    print(f"{name}\n\n{table(HEADER, [row.cells for row in rows])}")
    if out is not None:
        content = {"device": name, "torch": torch.__version__, "rows": [asdict(row) for row in rows]}
        out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    with one_line_errors():
        typer.run(main)
