"""Multipart forms (RFC 7578), read while they are received and kept in memory once.

A form has an image and each parameter of a request once at most, and RFC 2046 keeps its boundary out of their data. So
it has few boundaries, and everything between data and data is short. Whatever a client sends, the work for it is a
search for the boundary.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.http.body.part_header import FormPart, malformed, parse_part, read_boundary
from service.http.problems import Problem
from service.http.query.parameters import SegmentQuery

MAX_TEXT = 16_384  # bytes of a parameter, as in a query
MAX_BOXES_TEXT = 1 << 20  # bytes of the parameter boxes
MAX_HEAD = 8192  # bytes of a part's headers, and of what is before the first boundary or after the last
# All parameters but `kept`, which stands for an image.
FIELDS = ("image", *(name for name in SegmentQuery.model_fields if name != "kept"))


@dataclass(frozen=True)
class Upload:
    """What a request's body holds: an image, and the parameters of the request that are in a form or in JSON."""

    image: bytes = field(repr=False)
    parameters: Mapping[str, Any] = field(default_factory=dict, repr=False)


async def read_form(content_type: str, chunks: AsyncIterator[bytes]) -> Upload:
    """Read a form while it is received. Raises Problem unless it has an image and no other fields than FIELDS."""
    form = FormReader(read_boundary(content_type))
    async for chunk in chunks:
        form.feed(chunk)
    return form.finish()


class FormReader:
    """Takes a form's bytes as they come: a head, the data of a part, a head, data …, and the end.

    The bytes at hand are searched at most three times for each head, and once for each call.
    """

    def __init__(self, boundary: bytes) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._rest = b"\r\n"  # received and not understood yet; the first boundary may lack its line break
        self._step = self._preamble
        self._part: FormPart | None = None
        self._data = io.BytesIO()
        self._found: dict[str, bytes] = {}

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises Problem as soon as they cannot belong to a form that is wanted."""
        self._rest += data
        while self._step():
            pass

    def finish(self) -> Upload:
        """Return what the form held, all of which has been fed. Raises Problem if something is missing."""
        if self._step == self._preamble:
            raise malformed("its boundary is nowhere in it")
        if self._step == self._headers:
            raise malformed("it ends within the headers of a field")
        if self._part is not None:
            raise malformed(f"it ends within the field {self._part.name}")
        if "image" not in self._found:
            raise _missing_image()
        image = self._found.pop("image")
        return Upload(image, {name: _text(data) for name, data in self._found.items()})

    # Each step returns whether it got what it needed, so that the next one can begin with the rest.

    def _preamble(self) -> bool:
        at = self._search(self._delimiter)
        if at < 0:
            return self._wait("before the first boundary")
        self._rest = self._rest[at + len(self._delimiter) :]
        self._step = self._boundary_line
        return True

    def _boundary_line(self) -> bool:
        if self._rest.startswith(b"--"):
            self._rest = self._rest[2:]
            self._step = self._epilogue
            return True
        end = self._search(b"\r\n")
        if end < 0:
            return self._wait("after a boundary")
        if self._rest[:end].strip(b" \t"):
            raise malformed("a line begins with the boundary and goes on")
        self._rest = self._rest[end:]  # with the line break, which ends the headers if there are none
        self._step = self._headers
        return True

    def _headers(self) -> bool:
        end = self._search(b"\r\n\r\n")
        if end < 0:
            return self._wait("of a part's headers")
        if end > MAX_HEAD:
            raise malformed(f"there may be at most {MAX_HEAD} bytes of a part's headers")
        self._part = self._allowed(parse_part(self._rest[2:end]))
        self._rest = self._rest[end + 4 :]
        self._step = self._part_data
        return True

    def _part_data(self) -> bool:
        at = self._search(self._delimiter)
        # The last bytes may be the begin of a boundary.
        end = at if at >= 0 else max(0, len(self._rest) - len(self._delimiter) + 1)
        self._data.write(memoryview(self._rest)[:end])
        assert self._part is not None
        name, most = self._part.name, MAX_BOXES_TEXT if self._part.name == "boxes" else MAX_TEXT
        if name != "image" and self._data.tell() > most:
            raise malformed(f"the field {name} may have at most {most} bytes")
        if at >= 0:
            return self._end_data(at)
        self._rest = self._rest[end:]
        return False

    def _end_data(self, at: int) -> bool:
        assert self._part is not None
        # Takes over the buffer's memory.
        self._found[self._part.name] = self._data.getvalue()
        self._data, self._part = io.BytesIO(), None
        self._rest = self._rest[at + len(self._delimiter) :]
        self._step = self._boundary_line
        return True

    def _epilogue(self) -> bool:
        return self._wait("after the last boundary")

    def _allowed(self, part: FormPart) -> FormPart:
        if part.name not in FIELDS:
            raise Problem(
                "bad-request", f"there is no form field {part.name[:80]!r}; allowed: {', '.join(FIELDS)}"
            )
        if part.name in self._found:
            raise malformed(f"the field {part.name} comes several times")
        if part.name == "image" and not part.is_file:
            raise _missing_image()
        return part

    def _search(self, wanted: bytes) -> int:
        return self._rest.find(wanted)

    def _wait(self, where: str) -> bool:
        """Return False, for more bytes are needed. Raise Problem if there are too many already."""
        if len(self._rest) > MAX_HEAD:
            raise malformed(f"there may be at most {MAX_HEAD} bytes {where}")
        return False


def _text(data: bytes) -> str:
    """Return a parameter's value. It may come as a file (`curl -F boxes=@boxes.json`), so with a BOM and a line end."""
    return data.decode("utf-8-sig", "replace").strip()


def _missing_image() -> Problem:
    return Problem("missing-image", "the form must have a file in the field image")
