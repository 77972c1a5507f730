"""What the OpenAPI document says that FastAPI cannot find out: bodies, answers and problems."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from service.http import schemas
from service.http.body.form import FIELDS
from service.http.problems import KINDS, MEDIA_TYPE
from service.output.formats import FORMATS

_BINARY = {"type": "string", "format": "binary"}
_REF = "#/components/schemas/{model}"


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of problems with these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": _REF.format(model="ProblemDetails")}}}
    return {status: {"description": "A problem, explained", "content": content} for status in statuses}


SEGMENT_RESPONSES = problem_responses(*sorted({status for status, _ in KINDS.values()} - {404, 405})) | {
    200: {
        "model": schemas.SegmentAnswer | schemas.LabelAnswer | list[schemas.CocoResult],
        "description": "The instances, best first; with given boxes, one for each in their order. Of a semantic "
        "model a segment for each class present, or its label map.",
        "content": {
            format.media_type: {"schema": _BINARY} for format in FORMATS.values() if not format.is_json
        },
    }
}

_FIELD_SCHEMAS = {
    "image": _BINARY,
    "boxes": {"type": "string", "description": "As the parameter `boxes`."},
}
IMAGE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "additionalProperties": False,
                "properties": {name: _FIELD_SCHEMAS[name] for name in FIELDS},
            }
        },
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    },
}


def describe_problems(app: FastAPI) -> None:
    """Replace FastAPI's own description of invalid parameters, its only one, by the problems that are answered here."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        parts = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        details = schemas.ProblemDetails.model_json_schema(ref_template=_REF)
        parts |= details.pop("$defs", {}) | {"ProblemDetails": details}
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way
