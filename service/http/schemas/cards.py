"""What GET /models says of a model."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field


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
    keep_bytes: int = Field(
        description="Memory for all kept pictures; 0: none is kept.", examples=[100_000_000]
    )
    keep_seconds: int = Field(description="Seconds for which a picture may be kept.", examples=[300])
    max_window_side: int = Field(description="Pixels of a rendered window, across and down.", examples=[2048])


class PrecisionCard(BaseModel):
    """How precisely a model multiplies. Coordinates, logits and selections are always in fp32."""

    coarse_pass: Literal["fp32", "bf16"]
    point_head: Literal["fp32", "bf16"]
    notes: list[str] = Field(
        description="Why it is so, where it was left to the machine.",
        examples=[["precision fp32: this processor has no instructions for bf16"]],
    )


class DetectorCard(BaseModel):
    """The detector that finds a model's boxes, which somebody else trained."""

    name: str = Field(examples=["DEIMv2-Femto"])
    licence: str = Field(description="Of its weights.", examples=["Apache-2.0"])


class ModelCard(BaseModel):
    """A loaded model."""

    name: str = Field(examples=["people"])
    task: Literal["instance", "semantic"]
    ready: bool
    licence: str | None = Field(
        description="Of the weights of the network that draws masks or labels; null: its export did not say.",
        examples=["Apache-2.0"],
    )
    detector: DetectorCard | None = Field(description="null: the model finds boxes itself, or has none.")
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
    keeps: bool = Field(
        description="Whether its pictures can be kept, so that windows of their masks or label maps can be rendered."
    )
    segments_kept: bool = Field(
        description="Whether boxes of its kept pictures can be segmented without the picture (`kept`)."
    )
    palette: list[tuple[int, int, int]] | None = Field(
        description="The classes' colours of a semantic model's label maps.", examples=[None]
    )
    providers: list[str] = Field(
        description="What runs its graph: ONNX Runtime's execution providers, or OpenVINO.",
        examples=[["CPUExecutionProvider"]],
    )
    device: str = Field(description="Where it runs.", examples=["cpu"])
    precision: PrecisionCard
    threads: int = Field(description="Threads that its work may use.", examples=[2])
    limits: LimitsCard
    parity: dict[str, Any] | None = Field(
        default=None,
        description="How far the exported model is from the trained one; only GET /models/{name} has it.",
    )
