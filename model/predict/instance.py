"""From images to instance masks: prepare → detect → coarse pass → choose regions → render → masks in image pixels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.config.categories import Category
from model.config.parts import Preprocessing
from model.errors import UserError
from model.masks.contour_runs import runs_of_logits
from model.masks.paste import Crop, paste
from model.masks.runs import Check, Runs, TooDetailed, nothing
from model.masks.tensor_runs import runs_of_masks
from model.pointrend.evaluated import Evaluated
from model.pointrend.instance import InstanceRender, finest
from model.pointrend.levels import SIDES, native_side
from model.pointrend.point_head import PointHead
from model.pointrend.regions import RegionMaps, Source
from model.pointrend.render import points_that_fit, render
from model.predict.choice import FoundBoxes, chosen_regions, given_boxes, labels, with_detections
from model.predict.coarse import InstanceCoarse, instance_coarse
from model.predict.detection import BoxDetector, Wanted
from model.predict.explain import MaskExplanation, coarse_probabilities, explanation
from model.predict.kept.boxes import BoxRuns, Features
from model.predict.label_map import MAX_HEIGHT
from model.predict.predictor import CPU, Pixels, Prepared, Prompt, Run, by_channel, fine_map
from model.predict.preprocess import network_input
from model.predict.resize import resize

Resolution = int | Literal["native"]
# Ends of runs of all masks of an image that are found on an accelerator: no answer may have more.
MOST_RUNS = 2_000_000
_NUMBER = re.compile("[0-9]{1,6}")


@dataclass(frozen=True)
class InstanceOptions:
    """What a request may choose."""

    resolution: Resolution = "native"
    points: int | None = None  # per level; None: as many as the level needs
    score: float = 0.5
    max_instances: int = 100
    classes: frozenset[int] | None = None  # indices; None: all
    prompts: tuple[Prompt, ...] | None = None  # segment these boxes and detect nothing
    explain: bool = False  # keep the coarse masks and the points that are evaluated
    keep: bool = False  # keep the features, so that boxes can be segmented later


@dataclass(frozen=True, eq=False)
class Mask:
    """One finished instance mask. It holds its own logits; a render would keep the maps of its whole batch."""

    category: int  # index
    score: float
    box: NDArray[np.float32]  # [4] x0, y0, x1, y1 in image pixels
    logits: Tensor  # [side, side], where they were rendered
    points: int | None  # evaluated per level; None: as many as the level needs
    truncated: bool
    found_runs: Runs | None = None  # in its image, if they were found on the device of the logits
    explanation: MaskExplanation | None = None

    @property
    def side(self) -> int:
        return self.logits.shape[-1]

    @property
    def nbytes(self) -> int:
        return self.logits.nbytes + (0 if self.explanation is None else self.explanation.nbytes)

    @property
    def probability(self) -> NDArray[np.float32]:
        """The foreground probability [side, side], on the host."""
        return self.logits.sigmoid().cpu().numpy()

    def crop(self, width: int, height: int) -> Crop:
        """Return the mask as the pixels of its box in a width×height image."""
        return paste(self.probability, self.box.tolist(), width, height)

    def runs(self, width: int, height: int, check: Check = nothing, most: int | None = None) -> Runs:
        """Return the runs of the mask in its image of this size. Raise TooDetailed if it has more than `most`."""
        if self.found_runs is None:
            return runs_of_logits(self.logits, self.box.tolist(), width, height, check, most)
        if most is not None and self.found_runs.ends.size > 2 * most:
            raise TooDetailed(f"a mask has more than {most} runs")
        return self.found_runs

    @property
    def changes(self) -> int:
        """The number of changes between background and foreground along the columns of the mask's own grid.

        If the runs in the image are known, it is estimated from them, and may then be odd.
        """
        if self.found_runs is not None:
            return self.found_runs.ends.size * self.side // max(self.found_runs.width, 1)
        inside = np.pad((self.logits >= 0).numpy(), ((1, 1), (0, 0)))
        return int(np.count_nonzero(inside[1:] != inside[:-1]))


@dataclass(frozen=True, eq=False)
class Instances:
    """The masks that were found in one image: best first, or in the order of the given boxes."""

    masks: tuple[Mask, ...]

    @property
    def parts(self) -> tuple[Mask, ...]:
        return self.masks


@dataclass(frozen=True)
class Region:
    """An instance whose mask is being rendered."""

    category: int  # index
    score: float
    box: NDArray[np.float32]  # [4] x0, y0, x1, y1 in image pixels
    render: InstanceRender
    coarse: NDArray[np.float32] | None = None  # [s, s] foreground probability, if it shall be explained

    def finish(self, runs: Runs | None = None) -> Mask:
        """Return the finest finished mask. Raise ValueError if no level is finished."""
        render = self.render
        if render.logits is None:
            raise ValueError("nothing is rendered yet")
        # A render's logits are a view of a tensor that its whole group shares.
        logits = render.logits.clone()
        found = None
        if self.coarse is not None and render.evaluated is not None:
            found = explanation(self.coarse, render.evaluated)
        return Mask(self.category, self.score, self.box, logits, render.points, render.truncated, runs, found)


@dataclass(frozen=True)
class InstancePrediction:
    """The regions of one image: best first, or in the order of the given boxes."""

    regions: list[Region]
    width: int  # of the image
    height: int
    features: Features | None = None  # if they shall be kept

    @property
    def renders(self) -> list[InstanceRender]:
        return [region.render for region in self.regions]

    def finish(self) -> Instances:
        """Return the finest finished masks. Raise ValueError if a mask has no finished level.

        On an accelerator their runs are found there, so that logits never come down. Raise TooDetailed if they are too
        many for any answer.
        """
        runs = self._runs() if self.regions and self.regions[0].render.device.type != "cpu" else None
        if runs is None:
            return Instances(tuple(region.finish() for region in self.regions))
        return Instances(tuple(map(Region.finish, self.regions, runs)))

    def snapshot(self) -> InstancePrediction:
        """Return a prediction that stays as this one is now. A finished level is never written to afterwards."""
        regions = [replace(region, render=replace(region.render)) for region in self.regions]
        return replace(self, regions=regions)

    def _runs(self) -> list[Runs]:
        masks = finest(self.renders)
        boxes = [region.box.tolist() for region in self.regions]
        sides = [render.level for render in self.renders]
        return runs_of_masks(masks.sigmoid(), sides, boxes, self.width, self.height, MOST_RUNS)


@dataclass(frozen=True)
class InstancePredictor:
    """A Mask R-CNN that is ready to predict (see `Predictor`)."""

    run: Run
    head: PointHead | None  # None: a 4×conv head, whose masks come from the coarse pass
    preprocessing: Preprocessing
    categories: tuple[Category, ...]
    fine_stride: int = 4  # of the fine map, in network-input pixels
    device: torch.device = CPU  # of the coarse pass's inputs and outputs, and of the renderer
    # Finds boxes and their categories instead of the coarse pass, whose mask head then has one class for all of them.
    detector: BoxDetector | None = None
    mask_category: int = 0  # with a detector: the category of given boxes that name none
    box_runs: BoxRuns | None = None  # None: boxes of kept pictures cannot be segmented

    def prepare(self, image: Pixels, options: InstanceOptions) -> Prepared:
        """Resize one RGB image [H, W, 3]."""
        size = image.shape[1], image.shape[0]
        return self.prepare_resized(resize(image, self.preprocessing), size, options)

    def prepare_resized(self, pixels: Pixels, size: tuple[int, int], options: InstanceOptions) -> Prepared:
        """Return an image that was resized to `pixels` [h, w, 3] already. `size` is its own (width, height)."""
        wanted = Wanted(options.score, options.classes, options.max_instances)
        return Prepared(by_channel(pixels), *size, options.prompts, wanted, keep=options.keep)

    @property
    def detects(self) -> bool:
        """Whether boxes are found by a detector of its own."""
        return self.detector is not None

    @torch.inference_mode()
    def detect(self, batch: Sequence[Prepared]) -> list[Prepared]:
        """Return the images with the boxes that the detector finds in those for which none are given."""
        return list(batch) if self.detector is None else with_detections(self.detector, batch)

    def inputs(self, batch: Sequence[Prepared]) -> dict[str, Tensor]:
        """Return the inputs of a coarse pass over a batch of images and the boxes that were given for them."""
        images, sizes = network_input([p.pixels for p in batch], self.preprocessing, self.device)
        return {"image": images, "size": sizes, **given_boxes(batch, one_class=self.detects)}

    @torch.inference_mode()
    def coarse(self, batch: Sequence[Prepared]) -> InstanceCoarse:
        """Run one coarse pass. All images must have the same padded size, because padding reaches into results."""
        keep = self.box_runs is not None and any(image.keep for image in batch)
        run = self.box_runs.features if self.box_runs is not None and keep else self.run
        return instance_coarse(run(self.inputs(batch)))

    @torch.inference_mode()
    def boxes(self, features: Features, image: Prepared) -> InstanceCoarse:
        """Return what a coarse pass gives for the boxes of one image, from the features that were kept of it."""
        assert self.box_runs is not None
        given = given_boxes([image], one_class=self.detects)
        found = self.box_runs.boxes({**features.inputs, **given})
        boxes = given["prompts"].to(self.device)
        regions = {**found, "boxes": boxes, "batch": given["prompt_batch"], "fine": features.fine}
        return instance_coarse({**regions, **features.inputs})

    def begin(
        self, coarse: InstanceCoarse, index: int, prepared: Prepared, options: InstanceOptions
    ) -> InstancePrediction:
        """Return the regions of image `index` that the options ask for, with renders that have yet to run.

        This waits for the device: the host decides which masks to render, and how large. Maps stay where they are.
        """
        found = FoundBoxes(
            *(tensor.cpu() for tensor in (coarse.boxes, coarse.scores, coarse.classes, coarse.batch))
        )
        chosen = chosen_regions(found, index, prepared, options.score, options.classes, options.max_instances)
        boxes = prepared.to_image(found.boxes[chosen])
        fine = fine_map(coarse.fine, index, self.fine_stride)
        maps = RegionMaps(coarse.coarse, coarse.boxes, coarse.classes)
        coarse_masks = coarse_probabilities(maps, chosen, self.head) if options.explain else None
        categories, scores = labels(found, chosen, prepared, self.mask_category if self.detects else None)
        regions = []
        for place, (row, box) in enumerate(zip(chosen.tolist(), boxes, strict=True)):
            width, height = (box[2:] - box[:2]).tolist()
            if width > 0 and height > 0:
                side = native_side(width, height) if options.resolution == "native" else options.resolution
                render = self._render(Source(maps, row, fine), int(found.classes[row]), side, options.points)
                region = Region(categories[place], scores[place], box.numpy(), render)
                if coarse_masks is not None:
                    render.evaluated = Evaluated()
                    region = replace(region, coarse=coarse_masks[place])
                regions.append(region)
        features = None
        if coarse.pyramid is not None and prepared.keep:
            features = Features.of(coarse.pyramid, coarse.fine, index, prepared)
        return InstancePrediction(regions, prepared.width, prepared.height, features)

    def _render(self, source: Source, category: int, side: int, points: int | None) -> InstanceRender:
        """Return the render of a region; without a point head it is done."""
        if self.head is not None:
            return InstanceRender(source, category, side, points)
        cells = source.maps.coarse[source.row]
        side = int(cells.shape[0] ** 0.5)
        return InstanceRender(source, category, side, finished=cells.view(1, side, side))

    def render(self, predictions: Sequence[InstancePrediction]) -> None:
        """Finish the masks of any predictions."""
        if self.head is not None:
            renders = [r for prediction in predictions for r in prediction.renders]
            render(renders, self.head, points_that_fit(self.device, self.head.dim))

    def __call__(self, image: Pixels, options: InstanceOptions) -> InstancePrediction:
        """Take one RGB image [H, W, 3] through all steps."""
        (one,) = self.detect([self.prepare(image, options)])
        prediction = self.begin(self.coarse([one]), 0, one, options)
        self.render([prediction])
        return prediction


def parse_resolution(text: str) -> Resolution:
    """Return 'native' or a side of SIDES. Raise ValueError that says what is allowed."""
    if text == "native":
        return "native"
    if _NUMBER.fullmatch(text) and int(text) in SIDES:
        return int(text)
    raise UserError(
        f"resolution must be native or one of {', '.join(map(str, SIDES))}, got {text[:80]!r}; "
        f"only label maps, of semantic models, have any height, up to {MAX_HEIGHT}"
    )
