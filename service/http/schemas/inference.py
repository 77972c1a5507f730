"""The shapes of answers of the Open Inference Protocol, for OpenAPI."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ServerMetadata(BaseModel):
    """What the server is."""

    name: str = Field(examples=["pointrend-served"])
    version: str = Field(examples=["0.1.0"])
    extensions: list[str] = Field(examples=[["binary_tensor_data"]])


class ServerLive(BaseModel):
    """The answer of GET /v2/health/live."""

    live: Literal[True]


class ServerReady(BaseModel):
    """The answer of GET /v2/health/ready."""

    ready: Literal[True]


class ModelReady(BaseModel):
    """The answer about a model that is ready."""

    name: str = Field(examples=["people"])
    ready: Literal[True]


class TensorMetadata(BaseModel):
    """An input or output of a model."""

    name: str = Field(examples=["image"])
    datatype: Literal["BYTES", "FP32"]
    shape: list[int] = Field(description="-1: any number.", examples=[[1]])


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    name: str = Field(examples=["people"])
    platform: str = Field(examples=["pointrend_onnx"])
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class TensorOfAnswer(BaseModel):
    """An output of an inference."""

    name: str = Field(examples=["scores"])
    datatype: Literal["BYTES", "FP32"]
    shape: list[int] = Field(examples=[[1]])
    parameters: dict[str, Any] | None = Field(
        default=None,
        description="`content_type`: the type of the answer; `binary_data_size`: the bytes behind the JSON.",
    )
    data: list[str | float] | None = Field(
        default=None,
        description="Row by row; of an answer that is a picture, base64. Absent in binary.",
        examples=[[0.98]],
    )


class InferenceResponse(BaseModel):
    """The outputs of an inference. Behind the JSON, in their order, is the data of those that come in binary."""

    model_config = ConfigDict(protected_namespaces=())

    model_name: str = Field(examples=["people"])
    id: str | None = Field(default=None, description="That of the request, if it had one.")
    outputs: list[TensorOfAnswer]


class InferenceError(BaseModel):
    """What went wrong."""

    error: str = Field(description="What was wrong and what is allowed.")
