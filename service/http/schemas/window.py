"""The shape of the answer of POST /render, for OpenAPI."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from service.http.schemas.answers import SCORE, Rle, Timings


class WindowAnswer(BaseModel):
    """A window of the mask of one instance of a kept picture."""

    id: str = Field(description="The request's x-request-id.", examples=["4f6c1e9b"])
    model: str = Field(examples=["people"])
    width: int = Field(description="Width of the rendered window.", examples=[5])
    height: int = Field(examples=[4])
    degraded: bool = Field(
        description="Whether it is coarser than asked for because the service is busy.", examples=[False]
    )
    instance: int = Field(description="Its place among the instances of the picture.", examples=[0])
    category_id: int = Field(examples=[1])
    category: str = Field(examples=["person"])
    score: float = Field(description=SCORE, examples=[0.98])
    window: tuple[float, float, float, float] = Field(
        description="x0, y0, x1, y1 in pixels of the picture.", examples=[(10.5, 20.0, 42.5, 52.0)]
    )
    area: int = Field(description="Foreground pixels of the window.", examples=[4])
    segmentation: Rle = Field(examples=[{"size": [4, 5], "counts": "52203"}])
    points: int | Literal["auto"] = Field(description="Points evaluated per level.", examples=["auto"])
    truncated: bool = Field(
        description="Whether it is coarser than asked for, because the deadline came or the service is busy.",
        examples=[False],
    )
    timings_ms: Timings
