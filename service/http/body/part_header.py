"""The headers of a form and of its parts, as far as they matter here: names, and whether a part is a file."""

from __future__ import annotations

import re
from dataclasses import dataclass

from service.http.problems import Problem

MAX_BOUNDARY = 200  # bytes; RFC 2046 allows 70
MAX_LINES = 16  # headers of a part
MAX_LINE = 2048  # bytes of one of them
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*)")
# Matched one after the other from the beginning to the end, so that the time is linear.
_PARAMETER = re.compile(r'[ \t]*;[ \t]*([^\s=;"]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))[ \t]*')
_PLAIN = ("", "binary", "8bit", "7bit")


@dataclass(frozen=True)
class FormPart:
    """What the headers of a part say."""

    name: str
    is_file: bool


def read_boundary(content_type: str) -> bytes:
    """Return the boundary that a form's content type names. Raises Problem if it names none."""
    boundary = _parameters(content_type).get("boundary", "").encode("latin-1", "replace")
    if not boundary:
        raise malformed("its content type names no boundary")
    if len(boundary) > MAX_BOUNDARY:
        raise malformed(f"its boundary may have at most {MAX_BOUNDARY} bytes")
    return boundary


def parse_part(head: bytes) -> FormPart:
    """Return what the headers of a part say. Raises Problem if they cannot be read or name no field.

    Names are UTF-8, whatever charset the client declares.
    """
    lines = head.split(b"\r\n")
    if len(lines) > MAX_LINES or max(map(len, lines)) > MAX_LINE:
        raise malformed(f"a part may have at most {MAX_LINES} headers of {MAX_LINE} bytes")
    headers = dict(_header(line) for line in lines if line)
    encoding = headers.get("content-transfer-encoding", "").lower()
    if encoding not in _PLAIN:
        raise malformed(f"the transfer encoding {encoding[:80]!r} is not supported; send binary data")
    parameters = _parameters(headers.get("content-disposition", ""))
    if "name" not in parameters:
        raise malformed("a part's Content-Disposition gives no name of a field")
    return FormPart(parameters["name"], not parameters.keys().isdisjoint(("filename", "filename*")))


def malformed(detail: str) -> Problem:
    """Return the problem of a form that cannot be read."""
    return Problem("malformed-multipart", f"the form cannot be read: {detail}")


def _header(line: bytes) -> tuple[str, str]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise malformed("a header of a part has no name or no colon")
    return match[1].decode("ascii").lower(), match[2].decode("utf-8", "replace").strip()


def _parameters(value: str) -> dict[str, str]:
    """Return the parameters after the first semicolon. Those of RFC 2231 (`name*=charset'…`) are not decoded."""
    found: dict[str, str] = {}
    at = value.find(";")
    while 0 <= at < len(value):
        match = _PARAMETER.match(value, at)
        if match is None:
            if value[at:].strip(" \t;"):
                raise malformed("a parameter of a header cannot be read")
            break
        found.setdefault(match[1].lower(), _text(match))
        at = match.end()
    return found


def _text(match: re.Match[str]) -> str:
    quoted: str | None = match[2]
    return match[3].strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
