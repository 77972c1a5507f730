"""The parameters of a request: what may be asked, whatever the model. HTTP and the command line share it.

What depends on the model's task is parsed in `options.py`, once the model is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from model.pointrend.levels import SIDES
from model.predict.predictor import parse_points
from service.engine.errors import ParameterError
from service.output.formats import DEFAULT, FORMATS, described

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[tuple(FORMATS)]

MAX_ID = 64  # characters of the id of a kept picture; those of the service have fewer
MAX_PARAMETERS = 32  # of a query, unknown ones included

# Points evaluated per level: a number, or None for `auto`.
Points = Annotated[
    int | None,
    BeforeValidator(lambda value: parse_points(str(value))),
    WithJsonSchema({"type": "string", "pattern": "^(auto|[1-9][0-9]*)$"}),
]


class SegmentQuery(BaseModel):
    """The parameters of POST /segment as they were sent, checked as far as that is possible without a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(None, description="Name of a loaded model (see /models); the first if absent.")
    resolution: Annotated[
        str,
        BeforeValidator(str),
        WithJsonSchema({"type": "string", "pattern": "^(native|[1-9][0-9]*)$"}),
    ] = Field(
        "native",
        description=f"Side of the mask within its box, one of {', '.join(map(str, SIDES))}; `native` picks it for "
        "each instance from the size of its box, so that each image pixel gets a cell of its own. A model without "
        "a point head answers 28. Of a semantic model: the height of the label map, 1–8192; `native` is the height "
        "of the image.",
    )
    points: Points = Field(
        "auto",
        validate_default=True,
        description=f"Points evaluated per level of subdivision, 1–{SIDES[-1] ** 2}; `auto` grows with the level.",
    )
    score: float = Field(
        0.5,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="Least score of a detection. Below the model's own threshold for boxes (see /models) it finds "
        "nothing more. Not applied to given boxes. Only for instance models.",
    )
    max_instances: int = Field(
        100,
        ge=1,
        le=1000,
        description="Most detections, best first; a model may have a limit of its own (see /models). Only for "
        "instance models.",
    )
    classes: str | None = Field(
        None, description="Names of categories to keep, comma-separated; all if absent."
    )
    boxes: str | None = Field(
        None,
        description='JSON `[[x0, y0, x1, y1, "class"?], …]` in image pixels: segment these boxes and detect nothing. '
        "Without a class the model chooses. Only for instance models.",
        examples=['[[10, 20, 110, 220], [5, 5, 50, 60, "person"]]'],
    )
    deadline_ms: int | None = Field(
        None,
        ge=1,
        le=3_600_000,
        description="Milliseconds from the complete request, after which the finest finished masks are the answer, "
        "marked `truncated`.",
    )
    explain: bool = Field(
        False,
        description="Also say where each mask comes from: the coarse mask that it was rendered from, and the points "
        "that were evaluated at each level. Only for instance models and formats whose answer has an envelope.",
    )
    keep: int = Field(
        0,
        ge=0,
        le=86_400,
        description="Seconds for which the service keeps what it computed of the picture, so that POST /render can "
        "render windows of its masks, and further boxes can be segmented (`kept`); at most `limits.keep_seconds` of "
        "/models. The answer has the id as `kept` and in the header X-Kept-Id: null, and no header, if there was no "
        "room. Only for models with `keeps` in /models.",
    )
    kept: str | None = Field(
        None,
        max_length=MAX_ID,
        description="Id of a kept picture, instead of an image: `boxes` of it are segmented from what was kept, "
        "without decoding, trunk, pyramid and proposals. In the query alone, with an empty body. Only for models with "
        "`segments_kept` in /models.",
    )
    format: FormatName = Field(DEFAULT, description=f"How masks are written. {described()}.")
    image_id: int = Field(
        0,
        ge=0,
        le=2**63 - 1,
        description="Id of the image in the entries of format `coco`, and number of its frame in those of `cvat`.",
    )
    instance: int | None = Field(
        None,
        ge=0,
        le=999,
        description="Of format `cutout`: the only instance to show, counted from 0 as the other formats list them; all "
        "if absent.",
    )
    crop: bool = Field(
        False,
        description="Of format `cutout`: show the objects' extent alone, not the whole image. The PNG chunk `oFFs` has "
        "its place in the image. Without anything to show, the whole image is shown, transparent.",
    )


def with_form(query: Mapping[str, str], form: Mapping[str, Any]) -> SegmentQuery:
    """Return the parameters that came in a query and in a form, or in JSON.

    Raises ParameterError for one that is in both, ValidationError for values that are not allowed.
    """
    for name in form:
        if name in query:
            raise ParameterError(name, "given twice, in the query and in the body; send one")
    if "kept" in form:
        raise ParameterError("kept", "belongs into the query: a kept picture needs no image, and no body")
    return SegmentQuery.model_validate({**query, **form})


def explain(errors: Sequence[Any], known: Iterable[str] = SegmentQuery.model_fields) -> list[ParameterError]:
    """Return pydantic's findings, about parameters of which these are known, in the words of this service."""
    found = []
    for error in errors:
        name = str(error["loc"][-1])
        if error["type"] == "extra_forbidden":
            allowed = ", ".join(known)
            found.append(ParameterError(name, f"there is no such parameter; allowed: {allowed}"))
        elif error["type"] == "missing":
            found.append(ParameterError(name, "is needed, in the query"))
        elif error["type"] == "value_error":
            found.append(ParameterError(name, str(error["ctx"]["error"]).removeprefix(f"{name} ")))
        else:
            found.append(ParameterError(name, f"{error['msg']}, got {str(error['input'])[:80]!r}"))
    return found


def check_number(query: bytes) -> None:
    """Raise ParameterError if a query has many more parameters than there are, before any of them is looked at."""
    count = query.count(b"&") + 1
    if count > MAX_PARAMETERS:
        raise ParameterError("query", f"at most {MAX_PARAMETERS} parameters are allowed, got {count}")


def check_once(given: Sequence[tuple[str, str]]) -> None:
    """Raise ParameterError for a parameter that is given several times, because it is not clear which one counts."""
    names = [name for name, _ in given]
    for name in names:
        if names.count(name) > 1:
            raise ParameterError(name, "given several times; send it once")
