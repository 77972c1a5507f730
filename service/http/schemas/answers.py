"""The shapes of answers, for OpenAPI. Answers themselves are encoded in service/output, without these classes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCORE = "Confidence of the box; of some models (`people`) multiplied by the expected precision of its mask."
_RLE: dict[str, Any] = {"size": [4, 5], "counts": "52203"}
_INSTANCE: dict[str, Any] = {
    "category_id": 1,
    "category": "person",
    "score": 0.98,
    "bbox": [1.1, 0.9, 2.0, 2.2],
    "area": 4,
    "segmentation": _RLE,
    "resolution": 28,
    "points": "auto",
    "truncated": False,
}
_TIMINGS: dict[str, Any] = {
    "decode": 4.1,
    "queue": 5.2,
    "coarse": 61.0,
    "refine": 12.3,
    "encode": 1.1,
    "total": 83.7,
}


class Rle(BaseModel):
    """Run lengths of a mask, down the columns of the whole image, zeros first."""

    size: tuple[int, int] = Field(description="Height and width of the image.")
    counts: str | list[int] = Field(
        description="COCO's compressed text (`rle`), or the numbers (`rle_list`)."
    )


class CoarseMask(BaseModel):
    """The coarse mask that a mask was rendered from."""

    side: int = Field(examples=[7])
    probabilities: list[float] = Field(
        description="side² probabilities of the foreground, row by row of the box, with 3 decimals."
    )


class EvaluatedPoints(BaseModel):
    """The points of a level that the point head was evaluated at: the centres of cells."""

    side: int = Field(examples=[56])
    points: int = Field(description="How many.", examples=[784])
    cells: str | None = Field(
        description="Base64 of their cells as 32-bit numbers, the least significant byte first, in ascending order. "
        "Cell c has its centre at ((c % side + ½) / side, (c // side + ½) / side) of the box. null: all cells."
    )


class ExplanationEntry(BaseModel):
    """Where a mask comes from."""

    coarse: CoarseMask
    levels: list[EvaluatedPoints] = Field(description="The finished levels, the coarsest first.")


class InstanceEntry(BaseModel):
    """One instance and its mask."""

    model_config = ConfigDict(json_schema_extra={"example": _INSTANCE})

    category_id: int
    category: str
    score: float = Field(description=SCORE)
    bbox: tuple[float, float, float, float] = Field(description="x, y, width, height in image pixels.")
    area: int = Field(description="Pixels of the mask.")
    segmentation: Rle | list[list[int]] = Field(
        description="Run lengths, or polygons [[x0, y0, x1, y1, …], …]."
    )
    resolution: int = Field(description="Side of the mask within its box that was reached.")
    points: int | Literal["auto"] = Field(description="Points evaluated per level.")
    truncated: bool = Field(
        description="Whether the mask is coarser than asked for, because the deadline came or the service is busy."
    )
    explain: ExplanationEntry | None = Field(
        default=None, description="Where the mask comes from, if that was asked for."
    )


class Timings(BaseModel):
    """Milliseconds in each stage.

    `detector` and `coarse` are those of the whole batch; `refine` goes from there to the last level.
    """

    model_config = ConfigDict(json_schema_extra={"example": _TIMINGS})

    decode: float
    queue: float
    detector: float | None = Field(default=None, description="Only of models with a detector of their own.")
    coarse: float
    refine: float
    encode: float
    total: float = Field(description="From the complete body to the encoded masks.")


class SegmentAnswer(BaseModel):
    """The answer of an instance model."""

    id: str = Field(description="The request's x-request-id.", examples=["4f6c1e9b"])
    model: str = Field(examples=["people"])
    width: int = Field(
        description="Width of the image as displayed: with its EXIF orientation.", examples=[5]
    )
    height: int = Field(examples=[4])
    degraded: bool = Field(
        description="Whether masks are coarser than asked for because the service is busy.", examples=[False]
    )
    instances: list[InstanceEntry]
    kept: str | None = Field(
        default=None,
        description="The id of the kept picture, if `keep` asked for it; null if there was no room.",
    )
    timings_ms: Timings


class SegmentEntry(BaseModel):
    """All pixels of one class."""

    category_id: int = Field(examples=[3])
    category: str = Field(examples=["road"])
    area: int = Field(description="Pixels of the segment.", examples=[4])
    segmentation: Rle = Field(examples=[_RLE])


class LabelAnswer(BaseModel):
    """The answer of a semantic model."""

    id: str = Field(description="The request's x-request-id.", examples=["4f6c1e9b"])
    model: str = Field(examples=["street"])
    width: int = Field(
        description="Width of the image as displayed: with its EXIF orientation.", examples=[5]
    )
    height: int = Field(examples=[4])
    degraded: bool = Field(
        description="Whether the map is coarser than asked for because the service is busy.", examples=[False]
    )
    resolution: int = Field(description="Height of the label map that was reached.", examples=[4])
    points: int | Literal["auto"] = Field(description="Points evaluated per level.", examples=["auto"])
    truncated: bool = Field(
        description="Whether it is coarser than asked for, because the deadline came or the service is busy.",
        examples=[False],
    )
    segments: list[SegmentEntry] = Field(description="One for each class present, in the classes' order.")
    timings_ms: Timings


class CocoResult(BaseModel):
    """An entry of a COCO results list."""

    image_id: int = Field(examples=[0])
    category_id: int = Field(examples=[1])
    bbox: tuple[float, float, float, float] = Field(examples=[_INSTANCE["bbox"]])
    score: float = Field(description=SCORE, examples=[0.98])
    segmentation: Rle = Field(examples=[_RLE])
