"""Segmenting files without a server, by an engine in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from export.bundle import Bundle
from service.cli.files import ImageSource
from service.cli.overlay import Look
from service.decoding.threads import DecodeThreads
from service.engine.engine import Engine, serving
from service.engine.queue.intake import EngineConfig
from service.engine.request import Request
from service.engine.resources import Limits, share
from service.engine.workers import Workers
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery
from service.observe.metrics import Metrics
from service.settings import Settings

IN_FLIGHT = 4  # one is computed, one is encoded, and two are ready or being decoded
MEMORY = 1e9  # bytes for decoding, and for encoding; what needs more is done alone


@dataclass(frozen=True)
class Offline:
    """An engine at work, and what it is asked for every file."""

    engine: Engine
    options: Any  # of the task: InstanceOptions, LabelMapOptions
    query: SegmentQuery

    @property
    def concurrency(self) -> int:
        """While one file is computed, others are decoded, encoded and drawn. Each has a coarse pass of its own."""
        return IN_FLIGHT

    @property
    def look(self) -> Look:
        """How answers are drawn."""
        manifest = self.engine.manifest
        return Look(manifest.task, manifest.categories, manifest.palette)

    async def answer(self, file: ImageSource) -> bytes:
        """Return the answer about a file. Raises ImageError, ParameterError, NotListed, OSError."""
        request = Request(
            id=file.name,
            options=self.options,
            format=self.query.format,
            image_id=file.listed_id(),
            instance=self.query.instance,
            crop=self.query.crop,
            image=await asyncio.to_thread(file.read),
        )
        return (await self.engine.answer(request)).body


@asynccontextmanager
async def offline(bundle: Bundle, settings: Settings, query: SegmentQuery) -> AsyncIterator[Offline]:
    """Yield an engine that takes some requests at once. Raises ParameterError if its model does not allow the query."""
    options = parse_options(query, bundle.manifest.task, bundle.manifest.categories)
    workers = Workers(settings.thread_budget)
    # The queue has more places than requests may be in flight, so that none is refused.
    limits = Limits(queue_length=4 * IN_FLIGHT, decode_bytes=MEMORY, encode_bytes=MEMORY)
    resources = share(workers, DecodeThreads(workers.pool_size), limits)
    config = EngineConfig(settings.max_pixels, settings.max_points)
    engine = Engine(bundle, resources, config, Metrics().models.of(bundle.manifest.name))
    async with serving(resources):
        yield Offline(engine, options, query)
