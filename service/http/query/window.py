"""The parameters of POST /render: which window of which instance of a kept picture, and how large."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model.pointrend.levels import SIDES
from model.predict.kept.window import WindowOptions
from service.engine.tasks.windows import MAX_WINDOW_SIDE
from service.http.query.parameters import MAX_ID, Points
from service.output.formats import WINDOW_FORMATS

if TYPE_CHECKING:
    WindowFormatName = str
else:
    WindowFormatName = Literal[tuple(WINDOW_FORMATS)]

MAX_WINDOW = 128  # characters
_NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")


def parse_window(text: str) -> tuple[float, float, float, float]:
    """Return the corners of a window. Raise ValueError that says what is allowed.

    Whether they are within a picture, and in the right order, is checked with the picture (`Windows.check`).
    """
    parts = [part.strip() for part in text[:MAX_WINDOW].split(",")]
    if len(parts) != 4 or len(text) > MAX_WINDOW or not all(map(_NUMBER.fullmatch, parts)):
        raise ValueError(f"window must be four numbers x0,y0,x1,y1, got {text[:80]!r}")
    x0, y0, x1, y1 = map(float, parts)
    return x0, y0, x1, y1


def _checked(text: str) -> str:
    """Return the text of a window. A sequence of numbers would be a parameter that is given several times."""
    parse_window(text)
    return text


class RenderQuery(BaseModel):
    """The parameters of POST /render as they were sent, checked as far as that is possible without the picture."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(max_length=MAX_ID, description="The id of the kept picture: `kept` in its answer.")
    instance: int | None = Field(
        None,
        ge=0,
        le=10_000,
        description="Place of the instance among those of the answer; the first is 0. Needed for a picture of an "
        "instance model; a label map has none.",
    )
    window: Annotated[str, AfterValidator(_checked)] = Field(
        description="The part of the picture that is rendered: `x0,y0,x1,y1` in its pixels, fractions allowed.",
        examples=["100.5,80,132.5,104"],
    )
    width: int = Field(ge=1, le=MAX_WINDOW_SIDE, description="Pixels across of what is rendered.")
    height: int = Field(ge=1, le=MAX_WINDOW_SIDE, description="Pixels down of what is rendered.")
    points: Points = Field(
        "auto",
        validate_default=True,
        description=f"Points evaluated per level of subdivision, 1–{SIDES[-1] ** 2}, or `auto`. With as many as the "
        "window has pixels each of them is evaluated.",
    )
    deadline_ms: int | None = Field(
        None,
        ge=1,
        le=3_600_000,
        description="Milliseconds after which the finest finished level is the answer, enlarged.",
    )
    format: WindowFormatName = Field(
        "png",
        description="; ".join(f"`{name}`: {each.description}" for name, each in WINDOW_FORMATS.items()) + ".",
    )

    @property
    def options(self) -> WindowOptions:
        """Return what is asked of the picture."""
        return WindowOptions(self.instance, parse_window(self.window), self.width, self.height, self.points)
