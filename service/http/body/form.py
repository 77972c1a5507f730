"""Multipart forms, kept in memory once.

Each file is written into one growing buffer while it is received, and its bytes are taken over without a copy. Nothing
is spooled to a temporary file, which would be memory, too, where the folder for temporary files is a tmpfs.
"""

from __future__ import annotations

import io
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from python_multipart import FormParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, parse_options_header

from service.http.problems import Problem

MAX_TEXT = 1 << 20  # bytes of a field that is not a file
FIELDS = ("image", "boxes")


@dataclass(frozen=True)
class Upload:
    """What a request's body holds."""

    image: bytes = field(repr=False)
    boxes: str | None = field(default=None, repr=False)


@dataclass
class _Form:
    """What a form has held so far."""

    image: bytes | None = None
    boxes: str | None = None
    boxes_is_file: bool = False


async def read_form(content_type: str, chunks: AsyncIterator[bytes]) -> Upload:
    """Parse a form while it is received. Raises Problem unless it has an image and no other fields than FIELDS."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _malformed("its content type names no boundary")
    form = _Form()
    seen: set[str] = set()

    def check(part: Field | File) -> str:
        name = (part.field_name or b"").decode("utf-8", "replace")
        if name not in FIELDS:
            raise Problem(
                "bad-request", f"there is no form field {name[:80]!r}; allowed: {', '.join(FIELDS)}"
            )
        if name in seen:
            raise _malformed(f"the field {name} comes several times")
        seen.add(name)
        return name

    def on_field(part: Field) -> None:
        if check(part) == "image":
            raise Problem("missing-image", "the form must have a file in the field image")
        text = part.value or b""
        if len(text) > MAX_TEXT:
            raise _malformed(f"the field boxes may have at most {MAX_TEXT} bytes")
        form.boxes = text.decode("utf-8", "replace")

    def on_file(part: File) -> None:
        if check(part) == "boxes":
            form.boxes_is_file = True
            return
        assert isinstance(part.file_object, io.BytesIO)  # no size makes it a temporary file
        form.image = part.file_object.getvalue()

    options: dict[Any, Any] = {"MAX_MEMORY_FILE_SIZE": math.inf}
    try:
        parser = FormParser("multipart/form-data", on_field, on_file, boundary=boundary, config=options)
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise _malformed(str(error)[:200]) from error
    if form.image is None:
        raise Problem("missing-image", "the form must have a file in the field image")
    if form.boxes_is_file:
        raise _malformed("the field boxes must be text, not a file")
    return Upload(form.image, form.boxes)


def _malformed(detail: str) -> Problem:
    return Problem("malformed-multipart", f"the form cannot be read: {detail}")
