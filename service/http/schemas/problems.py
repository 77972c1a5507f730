"""What the service says of errors, and of itself."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
                "detail": "the content is not an image; use a JPEG, PNG, WebP, GIF, TIFF or BMP image",
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


class ProblemExplanation(BaseModel):
    """What a type of problem means."""

    type: str = Field(description="The `type` of such a problem.", examples=["/problems/not-an-image"])
    title: str = Field(examples=["The body is not an image"])
    status: int = Field(examples=[400])
    meaning: str
    remedy: str = Field(description="What to do about it.")


class Status(BaseModel):
    """The answer of /healthz and /readyz."""

    status: Literal["ok", "ready"]
