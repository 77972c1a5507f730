"""Other ways to serve the same engine: a plain FastAPI handler here, LitServe in `lit.py`.

    python -m bench.load.peers --bundle DIR --port N
    python -m bench.load.lit --bundle DIR --port N

All decode, predict and encode with the project's own functions; only what stands around them differs.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
import uvicorn
from fastapi import FastAPI, Request, Response

from export.bundle import Bundle, open_bundle
from export.session import Execution
from model.predict.images import DecodedImage, decode
from model.predict.instance import InstanceOptions
from model.predict.preprocess import padded_size
from service.engine.engine import Segmented, Stages
from service.engine.results import finished
from service.http.parameters import Ask
from service.output.answer import answer
from service.threads import available

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
BundleDir = Annotated[Path, typer.Option("--bundle")]
Port = Annotated[int, typer.Option()]
OPTIONS = InstanceOptions()


def opened(folder: Path) -> Bundle:
    threads = available()
    torch.set_num_threads(threads)
    return open_bundle(folder, Execution("cpu", threads))


def read(data: bytes) -> DecodedImage:
    return decode(data, max_pixels=50_000_000)


def segment(bundle: Bundle, images: Sequence[DecodedImage]) -> list[Segmented]:
    """A batch: a coarse pass for each size, then all renders at once."""
    started = time.monotonic()
    predictor = bundle.predictor
    prepared = [predictor.prepare(image.pixels) for image in images]

    def size(i: int) -> tuple[int, int]:
        _, height, width = prepared[i].pixels.shape
        return padded_size(height, width, predictor.preprocessing.stride)

    regions: dict[int, list[Any]] = {}
    for _, group in itertools.groupby(sorted(range(len(images)), key=size), key=size):
        members = list(group)
        coarse = predictor.coarse([prepared[i] for i in members])
        for place, i in enumerate(members):
            regions[i] = predictor.regions(coarse, place, prepared[i], OPTIONS)
    predictor.render([region for own in regions.values() for region in own])
    stages = Stages(0, 0, 0, time.monotonic() - started)
    return [
        Segmented(image.width, image.height, tuple(map(finished, regions[i])), stages, started)
        for i, image in enumerate(images)
    ]


def written(bundle: Bundle, found: Segmented) -> bytes:
    return answer(found, bundle.manifest, Ask(OPTIONS, "rle", 0), "bench").body


@app.command()
def plain(bundle: BundleDir, port: Port) -> None:
    """A FastAPI handler with the work in it."""
    model, service = opened(bundle), FastAPI()

    @service.post("/segment")
    async def _(request: Request) -> Response:
        image = read(await request.body())
        return Response(written(model, segment(model, [image])[0]), media_type="application/json")

    @service.get("/readyz")
    async def _() -> str:
        return "ready"

    uvicorn.run(service, port=port, access_log=False)


if __name__ == "__main__":
    app()
