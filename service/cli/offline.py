"""Segmenting files without a server, by an engine in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from export.bundle import Bundle
from export.manifest import Manifest
from model.masks.overlay import Layer, draw, painted
from model.predict.images import decode
from model.predict.instance import Instances
from model.predict.label_map import LabelMap
from service.cli.files import ImageFile
from service.cli.progress import progress
from service.decoding.threads import DecodeThreads
from service.engine.engine import Engine, serving
from service.engine.intake import EngineConfig
from service.engine.request import Request
from service.engine.resources import Limits, share
from service.engine.workers import Workers
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery
from service.observe.metrics import Metrics
from service.output.format import Content
from service.settings import Settings


@dataclass(frozen=True)
class Offline:
    """An engine at work, and what it is asked for every file."""

    engine: Engine
    settings: Settings
    options: Any  # of the task: InstanceOptions, LabelMapOptions
    format: str

    async def segment(self, file: ImageFile) -> Request:
        """Return the answered request for a file. Raises ImageError, ParameterError, NotListed, OSError."""
        request = Request(
            id=file.path.name,
            options=self.options,
            format=self.format,
            image_id=file.listed_id(),
            image=file.path.read_bytes(),
        )
        await self.engine.answer(request)
        return request

    def overlay(self, request: Request, out: Path) -> None:
        """Draw what was found on the image. Raises OSError."""
        pixels = decode(request.image, max_pixels=self.settings.max_pixels).pixels
        manifest = self.engine.manifest
        _DRAW[manifest.task](pixels, request.result, manifest).save(out)


@asynccontextmanager
async def offline(bundle: Bundle, settings: Settings, query: SegmentQuery) -> AsyncIterator[Offline]:
    """Yield an engine that takes one request at a time. Raises ParameterError if the model does not allow the query."""
    options = parse_options(query, bundle.manifest.task, bundle.manifest.categories)
    workers = Workers(settings.thread_budget)
    resources = share(workers, DecodeThreads(1), Limits())
    config = EngineConfig(settings.max_pixels, settings.max_points)
    engine = Engine(bundle, resources, config, Metrics().models.of(bundle.manifest.name))
    async with serving(resources):
        yield Offline(engine, settings, options, query.format)


async def segment_files(
    bundle: Bundle,
    settings: Settings,
    query: SegmentQuery,
    files: Sequence[ImageFile],
    overlay: Path | None = None,
) -> list[Content | Exception]:
    """Return the answer for each file, or why there is none. Draw the masks into `overlay` if it is given.

    Raises ParameterError if the model does not allow the query, whatever the file.
    """
    found: list[Content | Exception] = []
    with progress(len(files)) as advance:
        async with offline(bundle, settings, query) as engine:
            for file in files:
                try:
                    request = await engine.segment(file)
                    found.append(request.answer.payload)
                # Also the device's errors: those of ONNX Runtime have no base of their own.
                except Exception as error:
                    found.append(error)
                else:
                    if overlay is not None:
                        engine.overlay(request, overlay)
                advance()
    return found


def _draw_instances(pixels: NDArray[np.uint8], found: Instances, manifest: Manifest) -> Image.Image:
    height, width, _ = pixels.shape
    layers = [
        Layer(mask.crop(width, height), f"{manifest.categories[mask.category].name} {mask.score:.2f}")
        for mask in found.masks
    ]
    return draw(pixels, layers)


def _draw_label_map(pixels: NDArray[np.uint8], found: LabelMap, manifest: Manifest) -> Image.Image:
    height, width, _ = pixels.shape
    return painted(pixels, found.labels(height, width), manifest.palette)


_DRAW: Mapping[str, Callable[[NDArray[np.uint8], Any, Manifest], Image.Image]] = {
    "instance": _draw_instances,
    "semantic": _draw_label_map,
}
