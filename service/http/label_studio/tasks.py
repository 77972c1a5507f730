"""What Label Studio sends: the bodies of /setup, /validate and /predict, as far as they are needed."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request

from model.config.categories import Category
from service.engine.errors import ParameterError
from service.http import problems
from service.http.body.form import Upload
from service.http.body.json_reader import malformed
from service.http.body.upload import joined
from service.http.label_studio.config import LabelConfig
from service.http.query.boxes import MAX_BOXES

MAX_BYTES = 16_000_000  # of a body; tasks come with the annotations that they have
# Of a body, so that it does not become too many objects: lists and objects, members (a colon each), and values.
MAX_BRACKETS = MAX_COLONS = 100_000
MAX_COMMAS = 1_000_000
MAX_SIDE = 1_000_000  # pixels
M = TypeVar("M", bound=BaseModel)


class SetupBody(BaseModel):
    """The body of /setup. The address and the token of Label Studio that are in it are not used."""

    configuration: str = Field(alias="schema")


class ValidateBody(BaseModel):
    """The body of /validate."""

    config: str


class DrawnRectangle(BaseModel):
    """Where a rectangle is, in percent of the picture's width and height. It is turned about its first corner."""

    model_config = ConfigDict(allow_inf_nan=False)

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0
    rectanglelabels: list[str] = Field([], max_length=MAX_BOXES)


class DrawnRegion(BaseModel):
    """A region that somebody has just drawn."""

    type: str
    original_width: int = Field(ge=1, le=MAX_SIDE)
    original_height: int = Field(ge=1, le=MAX_SIDE)
    value: dict[str, Any]


class DrawnContext(BaseModel):
    """What has been drawn with a tag that is `smart`."""

    result: list[DrawnRegion] = Field([], max_length=MAX_BOXES)


class PredictParams(BaseModel):
    """The member `params` of /predict."""

    context: DrawnContext | None = None


class StudioTask(BaseModel):
    """A task: addresses and texts by name."""

    id: int | None = None
    data: dict[str, Any]


class PredictBody(BaseModel):
    """The body of /predict."""

    model_config = ConfigDict(protected_namespaces=())

    tasks: list[StudioTask] = Field(min_length=1, max_length=1000)
    label_config: str
    params: PredictParams = PredictParams()

    @property
    def drawn(self) -> list[DrawnRegion]:
        """The regions that were drawn, of an interactive request."""
        return [] if self.params.context is None else self.params.context.result


async def read_document(_: Request, chunks: AsyncIterator[bytes]) -> Upload:
    """Read a body that is JSON. Raises Problem if it is too large to be parsed."""
    body = await joined(chunks)
    if (
        len(body) > MAX_BYTES
        or body.count(b"[") + body.count(b"{") > MAX_BRACKETS
        or body.count(b":") > MAX_COLONS
        or body.count(b",") > MAX_COMMAS
    ):
        raise problems.Problem(
            "too-many-bytes",
            f"the tasks may have {MAX_BYTES} bytes, {MAX_BRACKETS} lists and objects, {MAX_COLONS} colons and "
            f"{MAX_COMMAS} commas at most",
        )
    return Upload(body)


def parsed(kind: type[M], body: bytes) -> M:
    """Return a body as an object of this kind. Raises Problem that says what is wrong with it."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        found = error.errors()
        if found[0]["type"] == "json_invalid":
            raise malformed("it is not JSON in UTF-8") from error
        raise problems.from_parameters(_explained(found)) from error


def boxes(
    drawn: Sequence[DrawnRegion], config: LabelConfig, categories: Sequence[Category]
) -> tuple[str, tuple[str | None, ...]]:
    """Return drawn rectangles as the parameter `boxes`, and the label of each if it has one of the masks' tag.

    A label that stands for a category of the model decides which class is rendered. Raise ParameterError for what is
    no rectangle.
    """
    known = {label: name for name, label in reversed(config.known(categories).items())}
    found: list[list[float | str]] = []
    labels: list[str | None] = []
    for region in drawn:
        if not region.type.startswith("rectangle"):
            raise ParameterError("context", f"only rectangles can be segmented, not {region.type[:80]!r}")
        rectangle = _rectangle(region)
        given = rectangle.rectanglelabels[:1]
        label = config.label_of(given[0]) if given else None
        labels.append(label)
        box: list[float | str] = [*_extent(region, rectangle)]
        found.append([*box, known[label]] if label in known else box)
    return json.dumps(found), tuple(labels)


def _rectangle(region: DrawnRegion) -> DrawnRectangle:
    """Return where a region is. Raises Problem if it does not say so."""
    try:
        return DrawnRectangle.model_validate(region.value)
    except ValidationError as error:
        raise problems.from_parameters(_explained(error.errors())) from error


def _explained(errors: Sequence[Any]) -> list[ParameterError]:
    """Return pydantic's findings, each with the path of the member that it is about."""
    return [ParameterError(".".join(map(str, error["loc"])), error["msg"]) for error in errors]


def _extent(region: DrawnRegion, rectangle: DrawnRectangle) -> tuple[float, float, float, float]:
    """Return the upright box around a rectangle, in pixels of the picture as displayed."""
    across, down = region.original_width / 100, region.original_height / 100
    width, height = rectangle.width * across, rectangle.height * down
    cosine, sine = (turn(math.radians(rectangle.rotation)) for turn in (math.cos, math.sin))
    x = [0.0, width * cosine, -height * sine, width * cosine - height * sine]
    y = [0.0, width * sine, height * cosine, width * sine + height * cosine]
    left, top = rectangle.x * across, rectangle.y * down
    return left + min(x), top + min(y), left + max(x), top + max(y)
