"""Other ways to serve the same engine: a plain FastAPI handler here, LitServe in `lit.py`.

    python -m bench.load.peers --bundle DIR --port N
    python -m bench.load.lit --bundle DIR --port N

All decode, predict and encode with this project's own functions. Only the server around them differs.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
import uvicorn
from fastapi import FastAPI, Request, Response

from export.bundle import Bundle, open_bundle
from export.execution import choose_execution
from model.predict.images import DecodedImage, decode
from model.predict.instance import InstanceOptions
from model.predict.predictor import Prediction
from model.predict.resize import padded_size
from service.machine import available
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import FORMATS

BundleDir = Annotated[Path, typer.Option("--bundle", help="Folder of an exported model.")]
Port = Annotated[int, typer.Option(help="Where to listen.")]
OPTIONS = InstanceOptions()


@dataclass(frozen=True)
class Segmented:
    """What was found in one image, and the time it took."""

    found: Found
    started: float  # on time.monotonic's clock
    seconds: float  # of the whole batch


def opened(folder: Path) -> Bundle:
    """Open a bundle that may use all cores of this process."""
    threads = available()
    torch.set_num_threads(threads)
    return open_bundle(folder, choose_execution("cpu", threads=threads))


def read(data: bytes) -> DecodedImage:
    """Decode an image as the service does."""
    return decode(data, max_pixels=50_000_000)


def segment(bundle: Bundle, images: Sequence[DecodedImage]) -> list[Segmented]:
    """Segment a batch: one coarse pass for each padded size, then all renders at once."""
    started = time.monotonic()
    predictor = bundle.predictor
    prepared = [predictor.prepare(image.pixels, OPTIONS) for image in images]
    sizes: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, each in enumerate(prepared):
        _, height, width = each.pixels.shape
        sizes[padded_size(height, width, predictor.preprocessing.stride)].append(i)
    predictions: dict[int, Prediction] = {}
    for members in sizes.values():
        coarse = predictor.coarse([prepared[i] for i in members])
        for place, i in enumerate(members):
            predictions[i] = predictor.begin(coarse, place, prepared[i], OPTIONS)
    predictor.render(list(predictions.values()))
    seconds = time.monotonic() - started
    return [
        Segmented(_found(bundle, image, predictions[i]), started, seconds) for i, image in enumerate(images)
    ]


def written(segmented: Segmented) -> bytes:
    """Return the answer in the service's default format."""
    stages = {"decode": 0.0, "queue": 0.0, "coarse": 0.0, "refine": segmented.seconds}
    return encode(segmented.found, FORMATS["rle"], stages, segmented.started).body


def _found(bundle: Bundle, image: DecodedImage, prediction: Prediction) -> Found:
    manifest = bundle.manifest
    return Found(
        request_id="bench",
        model=manifest.name,
        task=manifest.task,
        categories=manifest.categories,
        palette=manifest.palette,
        width=image.width,
        height=image.height,
        result=prediction.finish(),
        degraded=False,
        image_id=0,
    )


def main(bundle: BundleDir, port: Port) -> None:
    """Serve with a FastAPI handler that does the work itself."""
    model, service = opened(bundle), FastAPI()

    @service.post("/segment")
    async def _(request: Request) -> Response:
        image = read(await request.body())
        return Response(written(segment(model, [image])[0]), media_type="application/json")

    @service.get("/readyz")
    async def _() -> str:
        return "ready"

    uvicorn.run(service, port=port, access_log=False)


if __name__ == "__main__":
    typer.run(main)
