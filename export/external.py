"""Whether a graph keeps its weights in other files, found without the package `onnx`.

ONNX lets a tensor name a file and a place in it. Such a file would be no part of the hashes of the bundle, and its
name might lead out of the folder, so a graph with one is refused. The graph is a protobuf message; only the fields
that lead to tensors are followed, and everything else is skipped unread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from export.errors import BundleError

# By message, the numbers of the fields that lead to tensors, and the messages that they hold (ONNX's onnx.proto).
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external"},
}
_VARINT, _EIGHT_BYTES, _MESSAGE, _FOUR_BYTES = 0, 1, 2, 5  # protobuf's wire types that proto3 has
_LOCATION = 14  # of a tensor: 0 says inside of it, 1 outside


def check_self_contained(path: Path) -> None:
    """Raise BundleError if a tensor of the graph in this file is stored elsewhere, or the file is no such message."""
    content = memoryview(path.read_bytes())
    try:
        outside = _has_external(content)
    except (IndexError, ValueError) as error:
        raise BundleError(f"{path} cannot be loaded: it is no ONNX graph, or is damaged") from error
    if outside:
        raise BundleError(
            f"{path} is refused: it keeps weights in other files, which the manifest's hashes do not protect; "
            "save the graph as one file"
        )


def _has_external(content: memoryview) -> bool:
    waiting = [("model", content)]
    while waiting:
        kind, message = waiting.pop()
        for field, value in _fields(message):
            if kind == "tensor" and field == _LOCATION and value != 0:
                return True
            inner = _FIELDS[kind].get(field)
            if inner == "external":
                return True
            if inner is not None:
                if isinstance(value, int):
                    raise ValueError(f"field {field} of a {kind} is no message")
                waiting.append((inner, value))
    return False


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield number and value of each field: a number, or bytes. Raises ValueError and IndexError for a damaged one."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        value: memoryview | int
        if kind == _VARINT:
            value, at = _varint(message, at)
        elif kind == _MESSAGE:
            length, at = _varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            width = 8 if kind == _EIGHT_BYTES else 4
            value, at = message[at : at + width], at + width
        else:
            raise ValueError(f"wire type {kind}")
        if at > len(message):
            raise ValueError("a field is longer than its message")
        yield tag >> 3, value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Return the number that begins at an index, and the index after it."""
    number = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
    raise ValueError("a number has more than ten bytes")
