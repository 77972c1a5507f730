"""The table of docs/speed.md, which `python -m bench` measures and prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image

from bench.speed import reference_way
from export.bundle import open_bundle
from export.session import Execution
from model.checkpoints.checkpoint import of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.instance import PointRendConfig
from model.masks import rle
from model.masks.paste import paste
from model.pointrend.features import FineMap
from model.pointrend.instance import InstanceRender, render_dense
from model.pointrend.point_head import PointHead
from model.pointrend.render import render
from model.predict.instance import InstanceOptions
from model.predict.predictor import Predictor


@dataclass(frozen=True)
class Row:
    """One comparison: the seconds that ours takes, and those of what it is compared with."""

    what: str
    ours: float
    against: str
    theirs: float

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        return f"| {self.what} | {self.ours * 1e3:.1f} ms | {self.against} | {self.theirs * 1e3:.1f} ms | {ratio:.2f} |"


def seconds(work: Callable[[], object], repeats: int = 5) -> float:
    """Return the median duration, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def renderer(regions: int = 100, classes: int = 80, repeats: int = 3) -> list[Row]:
    """Time a full-size point head (256 wide), 7→224, 784 points a level, on P2 of an 800×1216 input."""
    torch.manual_seed(0)
    head = PointHead(256, classes, PointRendConfig()).eval().requires_grad_(False)
    torch.nn.init.normal_(head.predictor.weight, std=0.1)
    features = torch.randn(1, 256, 200, 304)
    coarse = torch.randn(regions, classes, 7, 7) * 3
    corner = torch.rand(regions, 2) * torch.tensor([900.0, 500.0])
    boxes = torch.cat([corner, corner + 40 + 260 * torch.rand(regions, 2)], 1)
    own = torch.randint(classes, (regions,))

    def start() -> list[InstanceRender]:
        """Return fresh renders. This includes the projections, which are part of a bundle's graph."""
        fine = FineMap(head.project_fine(features)[0].reshape(-1, 256), 200, 304, 4)
        cells = head.project_coarse(coarse, own)
        return [
            InstanceRender(fine, c, b, int(k), 224, 784) for c, b, k in zip(cells, boxes, own, strict=True)
        ]

    plain = seconds(lambda: reference_way.subdivide(features, coarse, boxes, own, head, 224, 784), repeats)
    adaptive = seconds(lambda: render(start(), head), repeats)
    dense = seconds(lambda: render_dense(start()[:10], head), repeats) * regions / 10
    return [
        Row(
            f"render {regions} masks, {classes} classes, 224×224", adaptive, "plain loop, all classes", plain
        ),
        Row("the same", adaptive, "dense: every cell (10 masks, scaled)", dense),
    ]


def encoding(masks: int = 20, repeats: int = 3) -> list[Row]:
    """Time how 224×224 masks are pasted into a 12-megapixel image and encoded."""
    width, height = 4000, 3000
    y, x = np.mgrid[0:224, 0:224] / 224 - 0.5
    wave = 0.35 + 0.08 * np.sin(9 * np.arctan2(y, x))
    one = (1 / (1 + np.exp(-60 * (wave - np.hypot(x, y))))).astype(np.float32)
    rng = np.random.default_rng(0)
    corner = rng.uniform((0, 0), (2800, 1800), (masks, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(200, 1200, (masks, 2))], 1).astype(np.float32)
    stack, tensors = torch.from_numpy(np.stack([one] * masks)), torch.from_numpy(boxes)

    def ours() -> list[str]:
        crops = (paste(one, box.tolist(), width, height) for box in boxes)
        return [rle.compress(rle.encode(c, width, height)) for c in crops]

    theirs = seconds(lambda: reference_way.paste_and_encode(stack, tensors, width, height), repeats)
    return [
        Row(f"paste and encode {masks} masks, 12 MP", seconds(ours, repeats), "full-size bitmaps", theirs)
    ]


def whole(bundle_folder: Path, checkpoint: Path, picture: Path, threads: int) -> list[Row]:
    """Time one picture through the shipped model, and its coarse pass, than which nothing after it can be faster."""
    predictor: Predictor = open_bundle(bundle_folder, Execution(threads=threads)).predictor
    eager = eager_predictor(of_task(open_checkpoint(checkpoint), "instance"))
    image = np.asarray(Image.open(picture).convert("RGB"))
    options = InstanceOptions()
    inputs = eager.inputs([eager.prepare(image, options)])

    @torch.inference_mode()
    def eager_pass() -> object:
        return eager.run(inputs)

    def everything() -> list[str]:
        height, width = image.shape[:2]
        masks: Sequence[Any] = predictor(image, options).finish().parts
        return [rle.compress(rle.encode(mask.crop(width, height), width, height)) for mask in masks]

    graph = seconds(lambda: predictor.run(inputs))
    return [
        Row("coarse pass, ONNX Runtime", graph, "eager PyTorch", seconds(eager_pass)),
        Row(f"{picture.name} → RLE, native resolution", seconds(everything), "its coarse pass alone", graph),
    ]


def main(
    bundle: Annotated[Path, typer.Option(help="A bundle of the shipped model.")] = Path("bundles/people"),
    checkpoint: Annotated[Path, typer.Option()] = Path("model/weights/people.safetensors"),
    picture: Annotated[Path, typer.Option()] = Path("examples/astronaut.jpg"),
    threads: Annotated[int, typer.Option(help="For PyTorch and ONNX Runtime.")] = 2,
) -> None:
    """Print the table. Nothing else should run on the machine meanwhile."""
    torch.set_num_threads(threads)
    print("| what | ours | against | that | ratio |\n|---|---|---|---|---|")
    parts: list[Callable[[], list[Row]]] = [
        renderer,
        encoding,
        lambda: whole(bundle, checkpoint, picture, threads),
    ]
    for part in parts:
        for row in part():
            print(row, flush=True)
