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


class Timings(BaseModel):
    """Milliseconds in each stage. `coarse` is that of the whole batch; `refine` goes from there to the last level."""

    model_config = ConfigDict(json_schema_extra={"example": _TIMINGS})

    decode: float
    queue: float
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


class Finding(BaseModel):
    """One parameter that is not allowed."""

    parameter: str
    detail: str


class ProblemDetails(BaseModel):
    """What went wrong, according to RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "/problems/not-an-image",
                "title": "The body is not an image",
                "status": 400,
                "detail": "the body is not an image; send a JPEG, PNG, WebP, GIF, TIFF or BMP image",
                "request_id": "4f6c1e9b",
            }
        }
    )

    type: str = Field(description="Stable: /problems/<kind>, where GET tells what it means.")
    title: str
    status: int
    detail: str = Field(description="What was wrong and what is allowed.")
    request_id: str
    errors: list[Finding] | None = Field(
        default=None, description="Each wrong parameter, of a problem of type /problems/invalid-parameter."
    )


class CategoryCard(BaseModel):
    """A class that a model knows."""

    id: int = Field(examples=[1])
    name: str = Field(examples=["person"])


class PreprocessingCard(BaseModel):
    """The size to which a model's images are resized."""

    short_edge: int = Field(
        description="Pixels of the short edge; fewer if the long edge would exceed its own.", examples=[800]
    )
    long_edge: int = Field(examples=[1333])


class LimitsCard(BaseModel):
    """What one request may have at most, the memory of all requests included; the same for all models."""

    max_pixels: int = Field(description="Pixels of an image, by its header.", examples=[64_000_000])
    max_body_bytes: int = Field(description="Bytes of a request's body.", examples=[25_000_000])
    formats: list[str] = Field(description="Image formats that are read.", examples=[["JPEG", "PNG"]])
    decode_bytes: int = Field(
        description="Memory for decoding all requests' images, by their formats and kinds.",
        examples=[1_110_000_000],
    )
    held_bytes: int = Field(description="Memory for all requests' bodies.", examples=[278_000_000])
    render_bytes: int = Field(description="Memory for all requests' masks.", examples=[416_000_000])
    encode_bytes: int = Field(description="Memory for all requests' answers.", examples=[416_000_000])
    max_points: int = Field(description="Work that its masks may need, in points.", examples=[4_000_000])
    max_seconds: float = Field(description="Predicted seconds that it may take.", examples=[10.0])


class ModelCard(BaseModel):
    """A loaded model."""

    name: str = Field(examples=["people"])
    task: Literal["instance", "semantic"]
    ready: bool
    categories: list[CategoryCard]
    preprocessing: PreprocessingCard
    sides: list[int] | None = Field(
        description="What `resolution` may be, besides `native`; null: any height of a label map.",
        examples=[[28, 56, 112]],
    )
    score_threshold: float | None = Field(
        description="Least confidence of a box that the model finds; null: a semantic model.",
        examples=[0.05],
    )
    max_detections: int | None = Field(examples=[100])
    palette: list[tuple[int, int, int]] | None = Field(
        description="The classes' colours of a semantic model's label maps.", examples=[None]
    )
    providers: list[str] = Field(
        description="ONNX Runtime's execution providers that run its graph.",
        examples=[["CPUExecutionProvider"]],
    )
    threads: int = Field(description="Threads that its work may use.", examples=[2])
    limits: LimitsCard
    parity: dict[str, Any] | None = Field(
        default=None,
        description="How far the exported model is from the trained one; only GET /models/{name} has it.",
    )


class ProblemExplanation(BaseModel):
    """What a type of problem means."""

    type: str = Field(description="The `type` of such a problem.", examples=["/problems/not-an-image"])
    title: str = Field(examples=["The body is not an image"])
    status: int = Field(examples=[400])
    meaning: str
    remedy: str = Field(description="What to do about it.")


class Status(BaseModel):
    """How the service is."""

    status: Literal["ok", "ready"]
