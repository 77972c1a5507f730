"""How a detector's ONNX graph is used: what a person says in a small YAML file, and a bundle in its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.dataclasses import dataclass

from model.config.categories import COCO
from model.errors import UserError

SMALLEST_SIDE, LARGEST_SIDE = 32, 2048  # of a detector's input, in pixels
MOST_CLASSES = 10_000
MOST_BYTES = 1_000_000  # of a settings file
_CHECKED = ConfigDict(extra="forbid", strict=True)
_Side = Annotated[int, Field(ge=SMALLEST_SIDE, le=LARGEST_SIDE)]
_Name = Annotated[str, Field(min_length=1, max_length=200)]
_Class = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^,\s]([^,\n]*[^,\s])?$")]
_Channels = tuple[float, float, float]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class DetectorInput:
    """What the graph is given: the image as float ((pixel / divide_by) - mean) / std, or as uint8 itself."""

    image: _Name  # the input's name; [N, 3, height, width]
    height: _Side
    width: _Side
    resize: Literal["stretch", "letterbox"] = "stretch"  # letterbox keeps the aspect ratio
    align: Literal["center", "top-left"] = "center"  # of the image in its letterbox
    fill: Annotated[int, Field(ge=0, le=255)] = 114  # the grey around it
    channels: Literal["RGB", "BGR"] = "RGB"
    divide_by: _Positive = 255.0
    mean: _Channels = (0.0, 0.0, 0.0)
    std: tuple[_Positive, _Positive, _Positive] = (1.0, 1.0, 1.0)
    # The name of a second input [N, 2], if there is one: the size whose pixels boxes are given in. It gets the input's.
    size: _Name | None = None
    size_order: Literal["width, height", "height, width"] = "width, height"


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class DetectorOutput:
    """What the graph returns, by the names of its outputs, in one of three forms.

    boxes [N, K, 4], scores [N, K] and labels [N, K]; or boxes [N, K, 4] and logits [N, K, classes]; or rows [N, K, 6]
    of a box, a score and a label. The first dimension may be missing where N is always 1.
    """

    boxes: _Name | None = None
    scores: _Name | None = None
    labels: _Name | None = None
    logits: _Name | None = None
    activation: Literal["none", "sigmoid", "softmax"] = "sigmoid"  # from logits to scores
    rows: _Name | None = None
    box_format: Literal["xyxy", "cxcywh"] = "xyxy"
    box_unit: Literal["pixels", "unit"] = "pixels"  # of the input; unit: shares of its sides

    @model_validator(mode="after")
    def _one_form(self) -> DetectorOutput:
        if self.names not in (("boxes", "scores", "labels"), ("boxes", "logits"), ("rows",)):
            raise ValueError(
                "name boxes, scores and labels, or boxes and logits, or rows alone; "
                f"got {', '.join(self.names) or 'none'}"
            )
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """The kinds of outputs that are named."""
        kinds = ("boxes", "scores", "labels", "logits", "rows")
        return tuple(kind for kind in kinds if getattr(self, kind) is not None)


@dataclass(frozen=True, kw_only=True, config=_CHECKED)
class DetectorSettings:
    """How a detector is used. Labels are positions in `classes`; those without a name (None) are left out."""

    name: _Name
    licence: _Name  # the name of its weights' licence, as SPDX has it
    input: DetectorInput
    output: DetectorOutput
    classes: Annotated[tuple[_Class | None, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.05  # less sure detections are left out
    max_detections: Annotated[int, Field(ge=1, le=1000)] = 100  # of an image

    @field_validator("classes")
    @classmethod
    def _different_names(cls, classes: tuple[str | None, ...]) -> tuple[str | None, ...]:
        names = [name for name in classes if name is not None]
        if not names:
            raise ValueError("at least one class needs a name")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two classes have the name {twice[0]!r}")
        return classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that detections may have, in the order of their labels."""
        return tuple(name for name in self.classes if name is not None)


_SETTINGS = TypeAdapter(DetectorSettings)
# What `classes` may be instead of a list: COCO's 80 classes in order, or with COCO's ids, 1 to 90, as labels.
_BY_ID = {category.id: category.name for category in COCO}
CLASS_LISTS: dict[str, list[str | None]] = {
    "coco80": [category.name for category in COCO],
    "coco91": [_BY_ID.get(number) for number in range(91)],
}


def read_settings(path: Path) -> DetectorSettings:
    """Read the YAML file of a detector's settings. Raises UserError, one line, for the first thing that is wrong."""
    import yaml  # of the extra `export`: serving reads no YAML

    if not path.is_file():
        raise UserError(f"{path} is no file: it must hold the detector's settings")
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES} bytes, so it holds no detector's settings")
    try:
        content: Any = yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must be a mapping with name, licence, input, output and classes")
    classes = content.get("classes")
    if isinstance(classes, str):
        if classes not in CLASS_LISTS:
            raise UserError(f"{path}: classes: must be a list of names, or one of {', '.join(CLASS_LISTS)}")
        content = {**content, "classes": CLASS_LISTS[classes]}
    try:  # as JSON, in which a list may stand for a tuple
        return _SETTINGS.validate_json(json.dumps(content))
    except (TypeError, ValueError) as error:
        if not isinstance(error, ValidationError):
            raise UserError(f"{path}: only text, numbers, lists and mappings are allowed: {error}") from error
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        text = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{path}: {place}: {text}") from error
