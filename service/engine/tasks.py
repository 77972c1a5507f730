"""What an engine's model does: all that differs between masks of instances and label maps.

`begin`, `advance` and `warm` run on the device's thread, `read` and `finish` in the pool.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from export import golden
from export.bundle import Bundle
from export.manifest import InstancePart, SemanticPart
from model.config.instance import Preprocessing
from model.pointrend.label_map import LabelMapRender
from model.pointrend.label_map import advance as advance_maps
from model.pointrend.label_map import total_points as total_map_points
from model.pointrend.label_map import total_work as total_map_work
from model.pointrend.label_map_level import Size
from model.pointrend.render import InstanceRender, advance, total_work
from model.predict.images import DecodedImage
from model.predict.instance import InstanceOptions, Prepared
from model.predict.label_map import LabelMapOptions, target_size
from service.engine.cost import CostModel
from service.engine.request_limits import check_boxes, check_cost, check_points
from service.engine.results import Findings, LabelMap, finished
from service.http.parameters import AnyOptions, ParameterError

DEGRADED_SIDE = 112  # under pressure; the paper's AP is the same there as at 224 (Table 3)


@dataclass(eq=False)
class Job:
    """A request on its way."""

    prepared: Prepared
    options: Any  # the task's
    rendering: Any = ()  # after the coarse pass: the task's


class Task(Protocol):
    """One model's."""

    golden: AnyOptions  # of the picture that a model must see as its export did
    degraded_side: int  # what renders are limited to while the service is busy

    def check(self, options: Any, limit: int) -> None:
        """Raises ParameterError if the request may need more than `limit` points, as far as that is known."""

    def cost(self, costs: CostModel, pixels: int, options: Any, at_most: int | None) -> float:
        """Seconds that an image of padded `pixels` will take, its renders limited to `at_most`."""

    def read(self, image: DecodedImage, options: Any, limit: int) -> Job:
        """Raises ParameterError if the options do not fit the image."""

    def begin(self, jobs: Sequence[Job]) -> list[list[Any]]: ...
    def advance(self, pieces: Sequence[Any]) -> None: ...
    def finish(self, job: Job) -> Findings: ...

    def learn(self, costs: CostModel, job: Job) -> None:
        """What a request needs is known after its coarse pass."""

    def warm(self, images: int) -> None:
        """The largest pass: what keeps memory for speed takes the most at once, not in ever larger pieces."""

    def check_golden(self, found: Findings) -> None:
        """Raises RuntimeError unless it is what the export saw in the golden picture."""


class InstanceTask:
    """Detections, or given boxes, and their masks."""

    golden: AnyOptions = golden.INSTANCE_OPTIONS
    degraded_side = DEGRADED_SIDE

    def __init__(self, bundle: Bundle) -> None:
        assert bundle.manifest.model.task == "instance"
        self._manifest = bundle.manifest
        self._part: InstancePart = bundle.manifest.model
        self._predictor = bundle.predictor

    def check(self, options: InstanceOptions, limit: int) -> None:
        check_cost(options, self._part.max_detections, limit)

    def cost(self, costs: CostModel, pixels: int, options: InstanceOptions, at_most: int | None) -> float:
        return costs.predict(pixels, options, at_most)

    def read(self, image: DecodedImage, options: InstanceOptions, limit: int) -> Job:
        check_boxes(options.prompts or (), image.width, image.height)
        return Job(self._predictor.prepare(image.pixels, options.prompts), options)

    def begin(self, jobs: Sequence[Job]) -> list[list[InstanceRender]]:
        coarse = self._predictor.coarse([job.prepared for job in jobs])
        for i, job in enumerate(jobs):
            job.rendering = self._predictor.regions(coarse, i, job.prepared, job.options)
        return [[region.render for region in job.rendering] for job in jobs]

    def advance(self, pieces: Sequence[InstanceRender]) -> None:
        assert self._predictor.head is not None  # without one every render is done from the start
        advance(pieces, self._predictor.head)

    def finish(self, job: Job) -> Findings:
        return tuple(map(finished, job.rendering))

    def learn(self, costs: CostModel, job: Job) -> None:
        needed = [total_work(region.render.side, job.options.points) for region in job.rendering]
        costs.saw_instances(job.options, needed)

    def warm(self, images: int) -> None:
        self._predictor.coarse([_blank(self._manifest.preprocessing)] * images)

    def check_golden(self, found: Findings) -> None:
        name, known = self._manifest.name, self._part.golden
        if isinstance(found, LabelMap) or len(found) != 1 or not found[0].logits.isfinite().all():
            raise RuntimeError(f"model {name!r} gives no usable mask for a box")
        seen = golden.InstanceGolden.seen(found[0].score, found[0].crop(golden.WIDTH, golden.HEIGHT))
        if known is not None and not known.agrees(seen):
            raise RuntimeError(
                f"model {name!r} does not see what its export saw in the golden picture: "
                f"score {seen.score:.4f} instead of {known.score:.4f}, or another mask"
            )


class SemanticTask:
    """The class of every pixel."""

    golden: AnyOptions = golden.SEMANTIC_OPTIONS

    def __init__(self, bundle: Bundle) -> None:
        assert bundle.manifest.model.task == "semantic"
        self._manifest = bundle.manifest
        self._part: SemanticPart = bundle.manifest.model
        self._predictor = bundle.predictor
        self.degraded_side = self._manifest.preprocessing.short_edge // 2  # one level above stride 4

    def check(self, options: LabelMapOptions, limit: int) -> None:
        """Only the image's size tells: see `read`."""

    def cost(self, costs: CostModel, pixels: int, options: LabelMapOptions, at_most: int | None) -> float:
        shape = self._manifest.preprocessing
        extent = shape.short_edge, shape.long_edge
        work = costs.native.value
        if options.resolution != "native" or options.points is not None:
            height = shape.short_edge if options.resolution == "native" else options.resolution
            target = height, round(height * shape.long_edge / shape.short_edge)
            work = self._total(total_map_work, extent, target, options.points)
        if at_most is not None:
            limit = at_most, round(at_most * shape.long_edge / shape.short_edge)
            work = min(work, self._total(total_map_work, extent, limit, options.points))
        return pixels * costs.pixel.value + work * costs.point.value

    def read(self, image: DecodedImage, options: LabelMapOptions, limit: int) -> Job:
        prepared = self._predictor.prepare(image.pixels)
        try:
            target = target_size(image.height, image.width, options.resolution)
        except ValueError as error:
            raise ParameterError("resolution", str(error)) from error
        extent = (prepared.pixels.shape[1], prepared.pixels.shape[2])
        check_points(self._total(total_map_points, extent, target, options.points), target, limit)
        return Job(prepared, options)

    def begin(self, jobs: Sequence[Job]) -> list[list[LabelMapRender]]:
        coarse = self._predictor.coarse([job.prepared for job in jobs])
        for i, job in enumerate(jobs):
            job.rendering = self._predictor.begin(coarse, i, job.prepared, job.options)
        return [[job.rendering] for job in jobs]

    def advance(self, pieces: Sequence[LabelMapRender]) -> None:
        assert self._predictor.head is not None  # without one every render is done from the start
        advance_maps(pieces, self._predictor.head)

    def finish(self, job: Job) -> LabelMap:
        # Without the fine map, which is a view of its whole batch's.
        render = dataclasses.replace(job.rendering, fine=None)
        prepared, options = job.prepared, job.options
        asked = target_size(prepared.height, prepared.width, options.resolution)
        return LabelMap(render, asked, options.classes, job.rendering.points)

    def learn(self, costs: CostModel, job: Job) -> None:
        costs.found.add(1)
        if job.options.resolution == "native" and job.options.points is None:
            render = job.rendering
            costs.native.add(self._total(total_map_work, render.extent, render.target, None))

    def warm(self, images: int) -> None:
        self._predictor.coarse([_blank(self._manifest.preprocessing)] * images)

    def check_golden(self, found: Findings) -> None:
        name, known = self._manifest.name, self._part.golden
        if not isinstance(found, LabelMap) or not found.render.base.isfinite().all():
            raise RuntimeError(f"model {name!r} gives no usable label map")
        if known is not None and not known.agrees(golden.SemanticGolden.seen(found.render)):
            raise RuntimeError(
                f"model {name!r} does not see what its export saw in the golden picture: another label map"
            )

    def _total(
        self,
        of: Callable[[Size, Size, Size, int | None], int],
        extent: Size,
        target: Size,
        points: int | None,
    ) -> int:
        """Points or work of a whole render; none without a point head."""
        if self._predictor.head is None:
            return 0
        stride = self._part.stride
        start = -(-extent[0] // stride), -(-extent[1] // stride)
        return of(start, target, extent, points)


TASKS: Mapping[str, Callable[[Bundle], Task]] = {"instance": InstanceTask, "semantic": SemanticTask}


def task_of(bundle: Bundle) -> Task:
    return TASKS[bundle.manifest.task](bundle)


def _blank(pixels: Preprocessing) -> Prepared:
    """An image of the largest size that the network gets."""
    blank = torch.zeros(3, pixels.short_edge, pixels.long_edge, dtype=torch.uint8)
    return Prepared(blank, pixels.long_edge, pixels.short_edge)
