"""The answer to an inference: tensors in JSON, or behind it where the client wants them so."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import numpy as np

from model.config.categories import Category
from model.predict.instance import Instances
from model.predict.predictor import Result
from service.http.inference.asked import ANSWER, OUTPUTS, AskedInference
from service.output.encode import Answer
from service.output.instances import shortest

BINARY = "application/octet-stream"
JSON = "application/json"
_PART = (
    3 << 18
)  # bytes that are written at a time, so that other threads run in between; of base64 a multiple of 3
# What of a text must be escaped in JSON. Control characters are in none of our formats but for the ends of lines.
_ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\n", b"\\n"))


@dataclass(frozen=True)
class OutputTensor:
    """A tensor of an answer. `text` is its data in JSON, in pieces, `binary` its data behind the JSON."""

    datatype: str
    shape: Sequence[int]
    text: Callable[[], list[bytes]]
    binary: Callable[[], list[bytes]]
    content_type: str | None = None


@dataclass(frozen=True)
class InferenceAnswer:
    """The body of an answer, and the number of bytes of its JSON if more follow."""

    body: bytes
    json_length: int | None

    @property
    def media_type(self) -> str:
        """The type of the body."""
        return JSON if self.json_length is None else BINARY


def inference_answer(
    asked: AskedInference,
    model: str,
    task: str,
    categories: Sequence[Category],
    result: Result,
    answer: Answer,
) -> InferenceAnswer:
    """Return what was found as the outputs that were asked for. Belongs into a thread, because answers may be long."""
    tensors = {ANSWER: _answer(answer), **_TENSORS[task](result, categories)}
    behind: list[bytes] = []
    outputs = [
        _output(name, tensors[name], behind if binary else None) for name, binary in asked.binary.items()
    ]
    named = {"model_name": model} | ({} if asked.id is None else {"id": asked.id})
    pieces = [json.dumps(named, ensure_ascii=False).encode("utf-8", "replace")[:-1], b', "outputs": [']
    for number, output in enumerate(outputs):
        pieces += [b", "] * (number > 0) + output
    pieces.append(b"]}")
    length = sum(map(len, pieces))
    return InferenceAnswer(b"".join([*pieces, *behind]), length if any(asked.binary.values()) else None)


def tensor_shapes(task: str) -> list[dict[str, Any]]:
    """Return name, datatype and shape of the outputs that models of this task have, -1 for any number."""
    return [{"name": name, **_SHAPES[name]} for name in OUTPUTS[task]]


_SHAPES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        ANSWER: {"datatype": "BYTES", "shape": [1]},
        "boxes": {"datatype": "FP32", "shape": [-1, 4]},
        "scores": {"datatype": "FP32", "shape": [-1]},
        "classes": {"datatype": "BYTES", "shape": [-1]},
    }
)


def _output(name: str, tensor: OutputTensor, behind: list[bytes] | None) -> list[bytes]:
    """Return a tensor's JSON in pieces. Its data goes there or, in binary, to what comes behind all JSON."""
    members: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": tensor.shape}
    parameters = {} if tensor.content_type is None else {"content_type": tensor.content_type}
    if behind is not None:
        data = tensor.binary()
        behind += data
        members["parameters"] = {**parameters, "binary_data_size": sum(map(len, data))}
        return [json.dumps(members).encode()]
    if parameters:
        members["parameters"] = parameters
    return [json.dumps(members).encode()[:-1], b', "data": [', *tensor.text(), b"]}"]


def _answer(answer: Answer) -> OutputTensor:
    """Return the answer as /segment gives it. In JSON, a picture is in base64."""
    body = memoryview(answer.body)
    parts = [body[start : start + _PART] for start in range(0, len(body), _PART)]
    picture = answer.media_type.startswith("image/")

    def text() -> list[bytes]:
        written = map(base64.b64encode, parts) if picture else map(_escaped, parts)
        return [b'"', *written, b'"']

    return OutputTensor("BYTES", [1], text, lambda: _elements([answer.body]), answer.media_type)


def _escaped(part: memoryview) -> bytes:
    text = bytes(part)
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text


def _elements(elements: Sequence[bytes]) -> list[bytes]:
    """Return a tensor of type BYTES, in binary."""
    return [piece for each in elements for piece in (len(each).to_bytes(4, "little"), each)]


def _numbers(values: np.ndarray[Any, np.dtype[np.float32]]) -> OutputTensor:
    return OutputTensor(
        "FP32",
        values.shape,
        lambda: [json.dumps(list(map(shortest, values.ravel())))[1:-1].encode()],
        lambda: [values.astype("<f4").tobytes()],
    )


def _of_instances(result: Result, categories: Sequence[Category]) -> dict[str, OutputTensor]:
    masks = cast(Instances, result).masks
    names = [categories[mask.category].name for mask in masks]
    return {
        "boxes": _numbers(np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)),
        "scores": _numbers(np.array([mask.score for mask in masks], np.float32)),
        "classes": OutputTensor(
            "BYTES",
            [len(names)],
            lambda: [json.dumps(names, ensure_ascii=False)[1:-1].encode()],
            lambda: _elements([name.encode() for name in names]),
        ),
    }


_TENSORS: Mapping[str, Callable[[Result, Sequence[Category]], Mapping[str, OutputTensor]]] = MappingProxyType(
    {"instance": _of_instances, "semantic": lambda result, categories: {}}
)
