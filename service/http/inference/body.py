"""The body of an inference: JSON, and behind it the image's bytes if the client uses the extension for binary data.

As tritonclient sends it, the header Inference-Header-Content-Length says how many bytes the JSON has, and of the tensor
of type BYTES each element follows as its length, four bytes with the lowest first, and its bytes. Without that header
the whole body is JSON, in which bytes have no place. So the image is in base64 there.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import Request

from service.engine.errors import ParameterError
from service.http.body.form import Upload
from service.http.body.json_reader import JsonReader, malformed
from service.http.headers import JSON_LENGTH
from service.http.problems import Problem

INPUT = "image"
_PREFIX = 4  # bytes of an element's length
_SHAPES = ([1], [1, 1])
_MEMBERS = ("name", "shape", "datatype", "parameters", "data")
_PARAMETERS = ("binary_data_size", "content_type")


async def read_inference(request: Request, chunks: AsyncIterator[bytes]) -> Upload:
    """Read an inference while it is received. Its parameters are all members of the JSON.

    Raises Problem, ParameterError unless it has one image as its input.
    """
    reader = InferenceReader(_json_length(request.headers.get(JSON_LENGTH)))
    async for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


class InferenceReader:
    """Takes a body's bytes as they come. The first `length` of them are JSON; None: all."""

    def __init__(self, length: int | None) -> None:
        self._json = JsonReader("data", depth=3, lists=2)  # inputs, list, tensor
        self._length = length
        self._left = length  # bytes of the JSON to come
        self._prefix = b""
        self._image = io.BytesIO()

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises Problem as soon as they cannot belong to what is wanted."""
        if self._left is None:
            self._json.feed(data)
            return
        if self._left:
            self._json.feed(data[: self._left])
            data, self._left = data[self._left :], max(0, self._left - len(data))
        if missing := _PREFIX - len(self._prefix):
            self._prefix, data = self._prefix + data[:missing], data[missing:]
        self._image.write(data)

    def finish(self) -> Upload:
        """Return the image and the members of the JSON, all of which has been fed. Raises Problem, ParameterError."""
        if self._left:
            raise malformed(f"the header {JSON_LENGTH} says that it has {self._length} bytes")
        image, members = self._json.found()
        given = _only_input(members.get("inputs"))
        size = _parameters(given).get("binary_data_size")
        if size is None and not self._prefix:
            if image is None or given.get("data") not in ([None], [[None]]):
                raise _missing()
            return Upload(image, members)
        if "data" in given:
            raise ParameterError("inputs", "the image is given twice, as data and behind the JSON; send one")
        return Upload(self._binary(size), members)

    def _binary(self, size: Any) -> bytes:
        """Return the image behind the JSON, whose tensor shall have this size."""
        image = self._image.getvalue()
        sent = len(self._prefix) + len(image)
        if size != sent or isinstance(size, bool):
            raise ParameterError(
                "binary_data_size", f"behind the JSON are {sent} bytes, got {str(size)[:80]!r}"
            )
        length = int.from_bytes(self._prefix, "little")
        if len(self._prefix) < _PREFIX or length != len(image):
            raise ParameterError(
                "inputs",
                f"the tensor must be one element: its length in {_PREFIX} bytes, the lowest first, and the image; the "
                f"length says {length}, and {len(image)} bytes follow",
            )
        return image


def _json_length(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Problem("bad-request", f"the header {JSON_LENGTH} must be a number of bytes, got {text[:80]!r}")
    return int(text)


def _only_input(inputs: Any) -> Mapping[str, Any]:
    """Return the tensor of the image. Raises ParameterError unless it is the only one, as it should be."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise ParameterError("inputs", f"must be a list of one tensor, {INPUT}")
    given: Mapping[str, Any] = inputs[0]
    for name in given:
        if name not in _MEMBERS:
            raise ParameterError("inputs", f"a tensor has no {name[:80]!r}; allowed: {', '.join(_MEMBERS)}")
    if given.get("name") != INPUT:
        raise ParameterError(
            "inputs", f"the tensor's name must be {INPUT}, got {str(given.get('name'))[:80]!r}"
        )
    if given.get("datatype") != "BYTES":
        raise ParameterError(
            "inputs", f"the tensor's datatype must be BYTES, got {str(given.get('datatype'))[:80]!r}"
        )
    if given.get("shape") not in _SHAPES:
        raise ParameterError(
            "inputs", f"the tensor's shape must be [1] or [1, 1], got {str(given.get('shape'))[:80]!r}"
        )
    return given


def _parameters(given: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = given.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise ParameterError("inputs", "the tensor's parameters must be an object")
    for name in parameters:
        if name not in _PARAMETERS:
            raise ParameterError(
                "inputs", f"a tensor has no parameter {name[:80]!r} here; allowed: {', '.join(_PARAMETERS)}"
            )
    return parameters


def _missing() -> Problem:
    return Problem(
        "missing-image",
        f"the input {INPUT} must have the image's file as its only element: behind the JSON, with binary_data_size, or "
        "as data in base64",
    )
