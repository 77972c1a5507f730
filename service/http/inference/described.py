"""What the OpenAPI document says of inferences that FastAPI cannot find out: bodies and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.http.headers import JSON_LENGTH
from service.http.inference.body import INPUT
from service.http.openapi import SEGMENT_KINDS
from service.http.problem_kinds import KINDS
from service.http.problems import example
from service.http.schemas.inference import InferenceError, InferenceResponse

_BINARY = {"type": "string", "format": "binary"}
_INPUT = {"name": INPUT, "datatype": "BYTES", "shape": [1], "data": ["(the file in base64)"]}
_EXAMPLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "all": ("Every instance, and all outputs", {}),
    "boxes": (
        "Boxes and scores alone, of instances with a score of at least 0.7",
        {"parameters": {"score": 0.7}, "outputs": [{"name": "boxes"}, {"name": "scores"}]},
    ),
}


def error_responses(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of these kinds of problems as the protocol has errors, by their status."""
    found: dict[int | str, dict[str, Any]] = {}
    for kind in kinds:
        about = KINDS[kind]
        usual: dict[str, Any] = {"model": InferenceError, "description": "", "content": {}}
        response = found.setdefault(about.status, usual)
        response["description"] += f"- `/problems/{kind}`: {about.title}. {about.meaning} {about.remedy}\n"
        examples = response["content"].setdefault("application/json", {"examples": {}})["examples"]
        examples[kind] = {"summary": about.title, "value": {"error": example(kind)["detail"]}}
    return found


INFERENCE_RESPONSES = error_responses(*SEGMENT_KINDS, "not-found") | {
    200: {
        "model": InferenceResponse,
        "description": "The outputs. `answer` is what POST /segment answers, its type in `content_type`. In binary "
        f"(`application/octet-stream`) the header {JSON_LENGTH} says how many bytes are JSON.",
        "content": {"application/octet-stream": {"schema": _BINARY}},
    }
}
INFERENCE_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["inputs"],
                "additionalProperties": False,
                "properties": {
                    "id": {"type": "string", "description": "Comes back with the answer."},
                    "parameters": {
                        "type": "object",
                        "description": "Those of POST /segment but `model`; `timeout`, which is `deadline_ms` in "
                        "microseconds; `binary_data_output`: whether outputs come in binary. Without effect: "
                        "`priority` and those of a sequence.",
                    },
                    "inputs": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["name", "datatype", "shape"],
                            "properties": {
                                "name": {"type": "string", "enum": [INPUT]},
                                "datatype": {"type": "string", "enum": ["BYTES"]},
                                "shape": {"type": "array", "items": {"type": "integer", "enum": [1]}},
                                "parameters": {"type": "object"},
                                "data": {
                                    "type": "array",
                                    "items": {"type": "string", "format": "byte"},
                                    "description": "The image's file in base64.",
                                },
                            },
                        },
                    },
                    "outputs": {
                        "type": "array",
                        "items": {"type": "object", "required": ["name"]},
                        "description": "The outputs that are wanted; all if absent.",
                    },
                },
            },
            "examples": {
                name: {"summary": summary, "value": {"inputs": [_INPUT], **members}}
                for name, (summary, members) in _EXAMPLES.items()
            },
        },
        "application/octet-stream": {"schema": _BINARY},
    },
}
