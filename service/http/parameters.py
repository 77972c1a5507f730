"""What a request may ask for, checked. HTTP and the command line share it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from model.config.categories import Category
from model.pointrend.render import SIDES
from model.predict import label_map as semantic
from model.predict.instance import InstanceOptions, Prompt, Resolution, parse_points, parse_resolution
from model.predict.label_map import LabelMapOptions
from service.engine.errors import ParameterError

Format = Literal["rle", "rle_list", "polygon", "coco", "png"]
AnyOptions = InstanceOptions | LabelMapOptions
FORMATS: tuple[str, ...] = get_args(Format)
LABEL_FORMATS = ("rle", "rle_list", "png")
MAX_BOXES = 1000


@dataclass(frozen=True)
class Ask:
    """A request, understood."""

    options: AnyOptions
    format: Format
    image_id: int
    deadline: float | None = None  # s


def _parsed(parse: Callable[[str], Any], schema: dict[str, Any]) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(lambda value: parse(str(value))), WithJsonSchema(schema)


def _either(one: Callable[[str], Any], other: Callable[[str], Any]) -> Callable[[str], Any]:
    """What one of two tasks allows; which one it is will be seen when the model is known."""

    def parse(text: str) -> Any:
        try:
            return one(text)
        except ValueError as error:
            try:
                return other(text)
            except ValueError:
                raise error from None

    return parse


_resolution = _parsed(
    _either(parse_resolution, semantic.parse_height),
    {"type": "string", "pattern": "^(native|[1-9][0-9]*)$"},
)
_points = _parsed(
    _either(parse_points, semantic.parse_points), {"type": "string", "pattern": "^(auto|[1-9][0-9]*)$"}
)


class SegmentQuery(BaseModel):
    """The parameters as text, checked as far as that goes without a model and an image."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, description="Name of a loaded model (see /models); the first if absent.")
    resolution: Annotated[Resolution, *_resolution] = Field(
        "native",
        description=f"Side of the mask within its box, one of {', '.join(map(str, SIDES))}; `native` picks it for "
        "each instance from the size of its box, so that each image pixel gets a cell of its own. A model without "
        "a point head answers 28. Of a label map: its height, 1–8192; `native` is the image's.",
    )
    points: Annotated[int | None, *_points] = Field(
        "auto",
        validate_default=True,
        description="Points evaluated per level of subdivision; `auto` grows with the level.",
    )
    score: float = Field(
        0.5,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Least score of a detection. Below the model's own threshold for boxes (see /models) it finds "
        "nothing more. Not applied to given boxes.",
    )
    max_instances: int = Field(
        100,
        ge=1,
        le=1000,
        description="Most detections, best first; a model may have a limit of its own (see /models).",
    )
    classes: str | None = Field(
        None, description="Names of categories to keep, comma-separated; all if absent."
    )
    boxes: str | None = Field(
        None,
        description='JSON `[[x0, y0, x1, y1, "class"?], …]` in image pixels: segment these and detect nothing. '
        "Without a class the model chooses. May be a form field instead.",
        examples=['[[10, 20, 110, 220], [5, 5, 50, 60, "person"]]'],
    )
    deadline_ms: int | None = Field(
        None,
        ge=1,
        le=3_600_000,
        description="Milliseconds from the complete request, after which the finest finished masks are answered, "
        "marked `truncated`.",
    )
    format: Format = Field(
        "rle",
        description="`rle`: COCO run lengths, compressed; `rle_list`: uncompressed; `polygon`: COCO polygons; "
        "`coco`: nothing but a COCO results list, ready for `loadRes`; `png`: of a semantic model, nothing but "
        "the label map, with a colour for each class. Label maps come as `rle`, `rle_list` or `png`.",
    )
    image_id: int = Field(0, ge=0, le=2**63 - 1, description="Of format `coco`.")

    def ask(self, categories: Sequence[Category], boxes: str | None = None, task: str = "instance") -> Ask:
        """With a model's categories and task, and boxes from elsewhere. Raises ParameterError."""
        if boxes is not None and self.boxes is not None:
            raise ParameterError("boxes", "given twice, in the query and in the form; send one")
        text = self.boxes if boxes is None else boxes
        deadline = None if self.deadline_ms is None else self.deadline_ms / 1000
        classes = None if self.classes is None else _classes(self.classes, categories)
        if task == "semantic":
            self._refuse_for_label_maps(text)
            _check(semantic.parse_height, "resolution", self.resolution)
            _check(semantic.parse_points, "points", "auto" if self.points is None else self.points)
            return Ask(LabelMapOptions(self.resolution, self.points, classes), self.format, 0, deadline)
        if self.format == "png":
            raise ParameterError("format", "png is for semantic models; this one gives masks of instances")
        _check(parse_resolution, "resolution", self.resolution)
        _check(parse_points, "points", "auto" if self.points is None else self.points)
        options = InstanceOptions(
            resolution=self.resolution,
            points=self.points,
            score=self.score,
            max_instances=self.max_instances,
            classes=classes,
            prompts=None if text is None else _boxes(text, categories),
        )
        return Ask(options, self.format, self.image_id, deadline)

    def _refuse_for_label_maps(self, boxes: str | None) -> None:
        """Raises ParameterError for what a semantic model has no use for."""
        if self.format not in LABEL_FORMATS:
            raise ParameterError(
                "format", f"label maps come as {', '.join(LABEL_FORMATS)}, got {self.format!r}"
            )
        asked = {"boxes": boxes, "score": self.score, "max_instances": self.max_instances}
        for name, value in asked.items():
            if value != SegmentQuery.model_fields[name].default:
                raise ParameterError(name, "is for masks of instances; this is a semantic model")


def explain(errors: Sequence[Any]) -> list[ParameterError]:
    """Pydantic's findings in the words of this service."""
    found = []
    for error in errors:
        name = str(error["loc"][-1])
        if error["type"] == "extra_forbidden":
            allowed = ", ".join(SegmentQuery.model_fields)
            found.append(ParameterError(name, f"there is no such parameter; allowed: {allowed}"))
        elif error["type"] == "value_error":
            found.append(ParameterError(name, str(error["ctx"]["error"]).removeprefix(f"{name} ")))
        else:
            found.append(ParameterError(name, f"{error['msg']}, got {str(error['input'])[:80]!r}"))
    return found


def check_once(given: Sequence[tuple[str, str]]) -> None:
    """Raises ParameterError for a parameter that is given several times: which one would count?"""
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise ParameterError(name, "given several times; send it once")


def _check(parse: Callable[[str], object], name: str, value: object) -> None:
    """Raises ParameterError unless this task allows the value."""
    try:
        parse(str(value))
    except ValueError as error:
        raise ParameterError(name, str(error).removeprefix(f"{name} ")) from error


def _classes(text: str, categories: Sequence[Category]) -> frozenset[int]:
    return frozenset(_index(name.strip(), categories, "classes") for name in text.split(","))


def _index(name: str, categories: Sequence[Category], parameter: str) -> int:
    names = [category.name for category in categories]
    if name not in names:
        raise ParameterError(parameter, f"there is no class {name[:80]!r}; allowed: {', '.join(names)}")
    return names.index(name)


def _boxes(text: str, categories: Sequence[Category]) -> tuple[Prompt, ...]:
    try:
        boxes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ParameterError("boxes", 'not JSON; send [[x0, y0, x1, y1, "class"?], …]') from error
    if not isinstance(boxes, list):
        raise ParameterError("boxes", 'must be a list: [[x0, y0, x1, y1, "class"?], …]')
    if len(boxes) > MAX_BOXES:
        raise ParameterError("boxes", f"at most {MAX_BOXES} are allowed, got {len(boxes)}")
    return tuple(_box(box, number, categories) for number, box in enumerate(boxes, 1))


def _box(box: Any, number: int, categories: Sequence[Category]) -> Prompt:
    if not isinstance(box, list) or len(box) not in (4, 5):
        raise ParameterError("boxes", f'box {number} must be [x0, y0, x1, y1] or [x0, y0, x1, y1, "class"]')
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in box[:4]):
        raise ParameterError("boxes", f"box {number}: x0, y0, x1 and y1 must be numbers")
    if not all(abs(v) <= float(np.finfo(np.float32).max) and math.isfinite(v) for v in box[:4]):
        raise ParameterError("boxes", f"box {number}: x0, y0, x1 and y1 must be finite")
    x0, y0, x1, y1 = (float(v) for v in box[:4])
    if x1 <= x0 or y1 <= y0:
        raise ParameterError("boxes", f"box {number}: x1 must be above x0 and y1 above y0")
    if len(box) == 4:
        return Prompt((x0, y0, x1, y1))
    if not isinstance(box[4], str):
        raise ParameterError("boxes", f"box {number}: its class must be a name")
    return Prompt((x0, y0, x1, y1), _index(box[4], categories, "boxes"))
