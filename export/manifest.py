"""The manifest of a bundle, `bundle.json`: everything that a server must know about a model.

One class describes the bundles of all tasks. What only one task needs stands in `Manifest.model`, which is a
different class for each task; its field `task` says which.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from export.detector.settings import DetectorSettings
from export.errors import BundleError
from export.golden import DetectorGolden, Golden, InstanceGolden, SemanticGolden
from model.config.categories import Category
from model.config.instance import PointRendConfig
from model.config.parts import Preprocessing
from model.config.semantic import SemanticPointConfig
from model.masks.palette import Colour

SCHEMA = 4
# Schema 3 is the same without boxes.onnx and its features among the outputs of the graph; 2 has no detectors either.
READABLE = (2, 3, SCHEMA)
MANIFEST = "bundle.json"
_CHECKED = ConfigDict(extra="forbid", strict=True)
_Channel = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class DetectorPart:
    """A detector that finds the boxes instead of the coarse pass, which then only draws their masks."""

    settings: DetectorSettings
    mask_class: str  # the mask head's only class: a category, that of given boxes which name none
    golden: DetectorGolden | None = None  # None: not recorded


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class InstancePart:
    """What only instance segmentation needs."""

    task: Literal["instance"] = "instance"
    point_head: PointRendConfig | None  # None: a 4×conv mask head, whose masks come from the graph
    score_threshold: float  # least score of a box, before its mask may lower the score
    max_detections: int  # of an image
    golden: InstanceGolden | None = None  # None: not recorded, as in tests
    detector: DetectorPart | None = None


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class SemanticPart:
    """What only semantic segmentation needs."""

    task: Literal["semantic"] = "semantic"
    point_head: SemanticPointConfig | None  # None: the base model's label maps are not refined
    palette: tuple[tuple[_Channel, _Channel, _Channel], ...]  # the colour of each class
    stride: int  # of the coarse logits, in network-input pixels
    golden: SemanticGolden | None = None  # None: not recorded, as in tests


Part = Annotated[InstancePart | SemanticPart, Field(discriminator="task")]


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class Manifest:
    """The content of `bundle.json`. Values are checked when it is made and when it is read."""

    name: str
    categories: tuple[Category, ...]
    preprocessing: Preprocessing
    model: Part
    fine_channels: int  # of the feature map that the point head was trained on; 0 without a point head
    fine_stride: int = 4  # of that map, in network-input pixels
    opset: int  # of the ONNX graphs
    files: dict[str, str]  # file name → sha256
    source: dict[str, str] = Field(default_factory=dict)  # checkpoint's file name, sha256 and notes
    parity: dict[str, Any] = Field(default_factory=dict)  # report of export/parity.py
    schema: int = SCHEMA

    @model_validator(mode="after")
    def _one_colour_for_each_class(self) -> Manifest:
        colours = len(self.palette)
        if self.model.task == "semantic" and colours != len(self.categories):
            raise ValueError(f"{colours} colours for {len(self.categories)} classes")
        return self

    @model_validator(mode="after")
    def _detector_of_these_classes(self) -> Manifest:
        if (detector := self.detector) is not None:
            names = [category.name for category in self.categories]
            expected = list(detector.settings.class_names)
            if names not in (expected, [*expected, detector.mask_class]) or detector.mask_class not in names:
                raise ValueError("the categories are not the detector's classes and the mask head's")
        return self

    @property
    def task(self) -> Literal["instance", "semantic"]:
        """The task that the model was trained for."""
        return self.model.task

    @property
    def detector(self) -> DetectorPart | None:
        """The detector in front of the mask head, if there is one."""
        return self.model.detector if self.model.task == "instance" else None

    @property
    def mask_classes(self) -> int:
        """The number of classes that the network itself knows: behind a detector one, whatever the categories."""
        return len(self.categories) if self.detector is None else 1

    @property
    def goldens(self) -> dict[str, Golden | None]:
        """What is known of the golden picture, by what is asked about it (see `export.golden.GOLDENS`)."""
        known: dict[str, Golden | None] = {self.task: self.model.golden}
        return known if self.detector is None else known | {"detector": self.detector.golden}

    @property
    def palette(self) -> tuple[Colour, ...]:
        """The colour of each class of a semantic model; empty for other tasks."""
        return self.model.palette if self.model.task == "semantic" else ()

    def to_json(self) -> str:
        """Return the text of `bundle.json`."""
        return _MANIFESTS.dump_json(self, indent=1).decode()


_MANIFESTS = TypeAdapter(Manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read and check the manifest of a bundle of any task. Raises BundleError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BundleError(f"{folder} is no bundle: it has no {MANIFEST}")
    content = path.read_bytes()
    try:
        schema = json.loads(content)["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{path} is not a bundle's manifest: it must be a JSON object with a schema"
        ) from error
    if schema not in READABLE:
        readable = ", ".join(map(str, READABLE))
        raise BundleError(
            f"{path} has schema {schema!r}; this version reads {readable}: export the model again"
        )
    return parse_manifest(content, path)


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Return the manifest with this text; `path` is named in errors. Raises BundleError for the first wrong value."""
    try:
        return dataclasses.replace(_MANIFESTS.validate_json(content), schema=SCHEMA)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "union_tag_invalid":
            tags = first["ctx"]
            raise BundleError(
                f"{path} is for task {tags['tag']!r}; this version serves {tags['expected_tags']}"
            ) from error
        place = ".".join(map(str, first["loc"]))
        raise BundleError(f"{path} is damaged: {place}: {first['msg']}") from error
