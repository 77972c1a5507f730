"""What the OpenAPI document says that FastAPI cannot find out: bodies, answers, problems and keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

from service.http.body.form import FIELDS
from service.http.problem_kinds import KINDS
from service.http.problems import MEDIA_TYPE, example
from service.http.query.parameters import SegmentQuery
from service.http.schemas.answers import CocoResult, LabelAnswer, SegmentAnswer
from service.http.schemas.problems import ProblemDetails
from service.http.schemas.tools import CvatShape, LabelStudioPrediction, PipelineMask
from service.http.schemas.window import WindowAnswer
from service.output.formats import FORMATS, WINDOW_FORMATS

_BINARY = {"type": "string", "format": "binary"}
_FILES: Mapping[str, Mapping[str, str]] = {
    "text/plain": {"type": "string"},
    "application/geo+json": {"type": "object", "description": "A feature collection (RFC 7946)."},
}
_REF = "#/components/schemas/{model}"
_OF_STUDIO = ("not-fetched", "foreign-address")
_NOT_OF_SEGMENT = ("not-found", "not-kept", "method-not-allowed", *_OF_STUDIO)
_OF_BODIES = ("malformed-multipart", "missing-image", "unsupported-content-type")
_OF_RENDER = (
    "unauthorized",
    "not-kept",
    "too-costly",
    "invalid-parameter",
    "queue-full",
    "internal-error",
    "starting",
    "unhealthy",
    "out-of-memory",
    "stopped",
    "deadline",
)
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


_LINES = {
    "levels": {
        "summary": "A line for each level of the masks, and the answer as the last one",
        "value": '{"event": "level", "side": 28, "model": "people", "width": 5, "height": 4, "instances": []}\n'
        '{"event": "done", "id": "4f6c1e9b", "model": "people", "width": 5, "height": 4, "degraded": false, '
        '"instances": [], "timings_ms": {}}\n',
    },
    "failure": {
        "summary": "It fails after its first line",
        "value": '{"event": "level", "side": 28, "model": "people", "width": 5, "height": 4, "instances": []}\n'
        + json.dumps({"event": "error", **example("internal-error")})
        + "\n",
    },
}
SEGMENT_KINDS = tuple(kind for kind in KINDS if kind not in _NOT_OF_SEGMENT)
SEGMENT_PROBLEMS = problem_responses(*SEGMENT_KINDS)
STUDIO_PROBLEMS = problem_responses(
    *(kind for kind in KINDS if kind in _OF_STUDIO or kind not in (*_NOT_OF_SEGMENT, *_OF_BODIES))
)
SEGMENT_RESPONSES = SEGMENT_PROBLEMS | {
    **problem_responses("not-kept"),
    200: {
        "model": SegmentAnswer
        | LabelAnswer
        | list[CocoResult]
        | list[CvatShape]
        | list[PipelineMask]
        | LabelStudioPrediction,
        "description": "The instances, best first; with given boxes, one for each in their order. Of a semantic "
        "model a segment for each class present, or its label map. As `image/png`: a cut-out or a label map.",
        "content": {
            format.media_type: {"schema": _FILES.get(format.media_type, _BINARY)}
            for format in FORMATS.values()
            if not format.is_json
        }
        | {"application/x-ndjson": {"schema": {"type": "string"}, "examples": _LINES}},
    },
}
RENDER_RESPONSES = problem_responses(*_OF_RENDER) | {
    200: {
        "model": WindowAnswer | LabelAnswer,
        "description": "The window: a picture of its probabilities, or its foreground. Of a label map: its colours, or "
        "a segment for each class.",
        "content": {
            format.media_type: {"schema": _BINARY} for format in WINDOW_FORMATS.values() if not format.is_json
        },
    }
}
RENDER_DESCRIPTION = """Return a window of one mask or of the label map of a kept picture, at any resolution.

The picture was sent to /segment with `keep`. What the network saw in it is read at the points of the window itself, and
the network does not run again. Beyond the resolution of the network's features contours become smooth curves; no
details appear that the network did not see.

```sh
id=$(curl -sF image=@photo.jpg 'http://127.0.0.1:8000/segment?keep=60' | jq -r .kept)
curl -X POST -o edge.png "http://127.0.0.1:8000/render?id=$id&instance=0&window=100,80,132,104&width=1024&height=768"
```
"""
SEGMENT_DESCRIPTION = """Return crisp masks of what is in an image, or its label map.

With `Accept: application/x-ndjson` the answer is a stream of lines: each level of the masks as soon as it is finished
(`{"event": "level", "side": 28, …}`, members as in the answer), and then the answer itself (`{"event": "done", …}`). An
error after the first line is the last one (`{"event": "error", …}`, members of a problem).

Boxes and masks are in pixels of the image as displayed. Parameters may be in the query or, if the image comes in a
form or in JSON, fields of the form or members of the object. In JSON the image is base64.

```sh
curl -F image=@photo.jpg 'http://127.0.0.1:8000/segment?resolution=224'
curl -F image=@photo.jpg -F resolution=224 -F 'boxes=[[10, 20, 110, 220]]' http://127.0.0.1:8000/segment
curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' 'http://127.0.0.1:8000/segment?format=polygon'
curl -F image=@photo.jpg -o cutout.png 'http://127.0.0.1:8000/segment?format=cutout&crop=true'
curl --json '{"image": "'$(base64 -w0 small.png)'", "resolution": 224}' http://127.0.0.1:8000/segment
curl -F image=@street.jpg -o map.png 'http://127.0.0.1:8000/segment?model=street&format=png'
```

A picture that was sent with `keep` can be asked about again by its id: boxes of it are segmented from what the network
computed of it then, in a fraction of the time. There is no body.

```sh
id=$(curl -sF image=@photo.jpg 'http://127.0.0.1:8000/segment?keep=60' | jq -r .kept)
curl -gX POST "http://127.0.0.1:8000/segment?kept=$id&boxes=[[10,20,110,220]]"
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


def _members() -> dict[str, Any]:
    """Return the schemas of a JSON object's members: the form's, and boxes and classes also as lists."""
    box = {"type": "array", "minItems": 4, "maxItems": 5, "items": {"type": ["number", "string"]}}
    found = _fields() | {
        "image": {"type": "string", "format": "byte", "description": "The image's file in base64."}
    }
    for name, items in (("boxes", box), ("classes", {"type": "string"})):
        found[name] = {
            **{key: value for key, value in found[name].items() if key not in ("type", "examples")},
            "anyOf": [{"type": "string"}, {"type": "array", "items": items}],
        }
    for name in ("resolution", "points"):
        schema = dict(found[name])
        text = {key: schema.pop(key) for key in ("type", "pattern")}
        found[name] = {**schema, "anyOf": [text, {"type": "integer", "minimum": 1}]}
    return found


_OBJECTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "instances": ("Every instance that the model finds", {}),
    "boxes": (
        "Masks of side 224 of what is in two given boxes",
        {"resolution": 224, "boxes": [[10, 20, 110, 220], [5, 5, 50, 60, "person"]]},
    ),
}
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
    "required": False,  # of a kept picture there is none
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
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["image"],
                "additionalProperties": False,
                "properties": _members(),
            },
            "examples": {
                name: {"summary": summary, "value": {"image": "(the file in base64)", **members}}
                for name, (summary, members) in _OBJECTS.items()
            },
        },
        "image/*": {"schema": _BINARY},
        "application/octet-stream": {"schema": _BINARY},
    },
}


def json_body(**members: Mapping[str, Any]) -> dict[str, Any]:
    """Return the description of a body that is an object with these members, and others that do not matter."""
    schema = {"type": "object", "required": list(members)[:2], "properties": members}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def describe_api(app: FastAPI, *, keys: bool) -> None:
    """Complete the app's document: problems instead of FastAPI's own description of them, and keys if there are any."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document["components"]
        parts = components["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        details = ProblemDetails.model_json_schema(ref_template=_REF)
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
    refused = responses.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if refused == {"$ref": _REF.format(model="HTTPValidationError")}:
        del responses["422"]  # FastAPI's own; any text may be a name, and an unknown one is not found
    if "401" in responses and keys:
        operation["security"] = [{name: []} for name in _SECURITY]
    elif "401" in responses:
        del responses["401"]
