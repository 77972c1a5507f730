"""What the OpenAPI document says that FastAPI cannot find out: bodies, answers, problems and keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from service.http import schemas
from service.http.body.form import FIELDS
from service.http.problem_kinds import KINDS
from service.http.problems import MEDIA_TYPE, example
from service.http.query.parameters import SegmentQuery
from service.output.formats import FORMATS

_BINARY = {"type": "string", "format": "binary"}
_REF = "#/components/schemas/{model}"
_NOT_OF_SEGMENT = ("not-found", "method-not-allowed")
_SECURITY: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer KEY`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: KEY`"},
}


def problem_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of these kinds of problems, by their status, each with its meaning and an example."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        about = KINDS[kind]
        content = {"schema": {"$ref": _REF.format(model="ProblemDetails")}, "examples": {}}
        response = found.setdefault(about.status, {"description": "", "content": {MEDIA_TYPE: content}})
        response["description"] += f"- `/problems/{kind}`: {about.title}. {about.meaning} {about.remedy}\n"
        response["content"][MEDIA_TYPE]["examples"][kind] = {"summary": about.title, "value": example(kind)}
    return found


SEGMENT_RESPONSES = problem_responses(*(kind for kind in KINDS if kind not in _NOT_OF_SEGMENT)) | {
    200: {
        "model": schemas.SegmentAnswer | schemas.LabelAnswer | list[schemas.CocoResult],
        "description": "The instances, best first; with given boxes, one for each in their order. Of a semantic "
        "model a segment for each class present, or its label map.",
        "content": {
            format.media_type: {"schema": _BINARY} for format in FORMATS.values() if not format.is_json
        },
    }
}
SEGMENT_DESCRIPTION = """Return crisp masks of what is in an image, or its label map.

Boxes and masks are in pixels of the image as displayed. Parameters may be in the query or, if the image comes in a
form, fields of the form.

```sh
curl -F image=@photo.jpg 'http://127.0.0.1:8000/segment?resolution=224'
curl -F image=@photo.jpg -F resolution=224 -F 'boxes=[[10, 20, 110, 220]]' http://127.0.0.1:8000/segment
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' 'http://127.0.0.1:8000/segment?format=polygon'
curl -F image=@street.jpg -o map.png 'http://127.0.0.1:8000/segment?model=street&format=png'
```
"""


def _fields() -> dict[str, Any]:
    """Return the schemas of a form's fields: the parameters' own, without the null that no form can hold."""
    found: dict[str, Any] = {"image": _BINARY | {"description": "The image, as a file."}}
    for name, schema in SegmentQuery.model_json_schema()["properties"].items():
        kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
        found[name] = {key: value for key, value in schema.items() if value is not None and key != "title"}
        found[name] |= kinds[0] if kinds else {}
    return {name: found[name] for name in FIELDS}


_FORMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "instances": ("Every instance that the model finds", {}),
    "coarse": ("Masks of side 28, of the surest ten", {"resolution": "28", "max_instances": 10}),
    "boxes": (
        "Masks of what is in two given boxes",
        {"boxes": '[[10, 20, 110, 220], [5, 5, 50, 60, "person"]]'},
    ),
    "polygons": ("Outlines instead of run lengths", {"format": "polygon"}),
}
IMAGE_BODY = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "additionalProperties": False,
                "properties": _fields(),
            },
            "examples": {
                name: {"summary": summary, "value": {"image": "(the bytes of the file)", **fields}}
                for name, (summary, fields) in _FORMS.items()
            },
        },
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    },
}


def describe_api(app: FastAPI, *, keys: bool) -> None:
    """Complete the app's document: problems instead of FastAPI's own description of them, and keys if there are any."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document["components"]
        parts = components["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        details = schemas.ProblemDetails.model_json_schema(ref_template=_REF)
        parts |= details.pop("$defs", {}) | {"ProblemDetails": details}
        if keys:
            components["securitySchemes"] = _SECURITY
        for operations in document["paths"].values():
            for operation in operations.values():
                _describe_refusals(operation, keys)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way


def _describe_refusals(operation: dict[str, Any], keys: bool) -> None:
    """Leave out what does not happen: refused names in paths, and refusals for lack of a key where there are none."""
    responses = operation["responses"]
    if "application/json" in responses.get("422", {}).get("content", ()):
        del responses["422"]  # FastAPI's own; any text may be a name, and an unknown one is not found
    if "401" in responses and keys:
        operation["security"] = [{name: []} for name in _SECURITY]
    elif "401" in responses:
        del responses["401"]
