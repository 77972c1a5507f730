"""The shapes of answers in the formats of other tools, for OpenAPI."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.http.schemas.answers import SCORE


class CvatShape(BaseModel):
    """A shape of CVAT's of type `mask`, with the label's name where CVAT has its id."""

    type: Literal["mask"]
    frame: int = Field(description="`image_id` of the request.", examples=[0])
    label: str = Field(examples=["person"])
    score: float | None = Field(default=None, description=SCORE, examples=[0.98])
    points: list[int] = Field(
        description="Run lengths along the rows of the box, zeros first; then its left, top, right and bottom, the "
        "last column and row included.",
        examples=[[0, 4, 1, 1, 2, 2]],
    )


class BrushValue(BaseModel):
    """The mask of a brush region."""

    format: Literal["rle"]
    rle: list[int] = Field(description="Label Studio's packed run lengths, byte by byte.", examples=[[0, 0]])
    brushlabels: list[str] = Field(examples=[["person"]])


class PolygonValue(BaseModel):
    """The outline of a polygon region."""

    points: list[tuple[float, float]] = Field(
        description="x and y in percent of the width and the height.",
        examples=[[(20, 25), (60, 25), (60, 75)]],
    )
    closed: Literal[True]
    polygonlabels: list[str] = Field(examples=[["person"]])


class StudioRegion(BaseModel):
    """A region of Label Studio's."""

    id: str = Field(examples=["4f6c1e9b-0"])
    type: Literal["brushlabels", "polygonlabels"]
    from_name: str = Field(examples=["tag"])
    to_name: str = Field(examples=["image"])
    original_width: int = Field(examples=[5])
    original_height: int = Field(examples=[4])
    image_rotation: int = Field(examples=[0])
    score: float | None = Field(default=None, description=SCORE, examples=[0.98])
    value: BrushValue | PolygonValue


class LabelStudioPrediction(BaseModel):
    """A prediction of Label Studio's."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str = Field(description="The model's name.", examples=["people"])
    score: float | None = Field(default=None, description="The mean score.", examples=[0.98])
    result: list[StudioRegion]


class PipelineMask(BaseModel):
    """A mask as Hugging Face's task image-segmentation has it."""

    label: str = Field(examples=["person"])
    score: float | None = Field(description=f"{SCORE} null: of a class of a label map.", examples=[0.98])
    mask: str = Field(description="Base64 of a grey PNG of the whole image: 255 where the mask is, else 0.")


class StudioFailure(BaseModel):
    """Why there is no prediction of a task."""

    error: str
    problem: str = Field(description="The kind of problem, see /problems.", examples=["not-fetched"])


class StudioPredictions(BaseModel):
    """The answer of /label-studio/predict."""

    model_config = ConfigDict(protected_namespaces=())

    results: list[LabelStudioPrediction | StudioFailure] = Field(description="One for each task, in order.")
    model_version: str = Field(examples=["people"])


class StudioModel(BaseModel):
    """The model that serves a project."""

    model_config = ConfigDict(protected_namespaces=())

    model_version: str = Field(examples=["people"])


class StudioStatus(BaseModel):
    """The answer of /label-studio/health."""

    model_config = ConfigDict(protected_namespaces=())

    status: Literal["UP"]
    model_class: str


class StudioVersions(BaseModel):
    """The answer of /label-studio/versions."""

    versions: list[str]
