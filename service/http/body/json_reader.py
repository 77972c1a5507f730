"""JSON objects with an image in base64, read while they are received.

The image is decoded as it comes, so it is in memory once and never decoded at length on the event loop. Everything else
is short, and is parsed when all of it is there. Whatever a client sends, the work for it is a search for quotes and
brackets, of which there may be only so many.
"""

from __future__ import annotations

import binascii
import io
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from service.http.body.form import MAX_BOXES_TEXT, MAX_TEXT, Upload
from service.http.problems import Problem

MAX_REST = MAX_BOXES_TEXT + MAX_TEXT  # bytes of all but the image
MAX_TOKENS = 8192  # strings and brackets; a thousand boxes with names of classes need three thousand
_START = re.compile(rb'["\[\]{}]')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*(?:\[[ \t\r\n]*)*")
_UNDECIDED = re.compile(rb"[ \t\r\n]*(:[ \t\r\n]*(?:\[[ \t\r\n]*)*)?\Z")
# What encoders write in place of characters of base64, and the ends of its lines.
_ESCAPES = {rb"\/": b"/", rb"\n": b"", rb"\r": b""} | {
    rb"\u00" + code: character
    for code, character in (
        (b"2b", b"+"),
        (b"2B", b"+"),
        (b"2f", b"/"),
        (b"2F", b"/"),
        (b"3d", b"="),
        (b"3D", b"="),
    )
}
_LONGEST_ESCAPE = 6


async def read_json(chunks: AsyncIterator[bytes], name: str) -> Upload:
    """Read an object while it is received. Its member `name` is the image, the others are parameters.

    Raises Problem unless it is an object with that member in base64.
    """
    reader = JsonReader(name)
    async for chunk in chunks:
        reader.feed(chunk)
    return reader.finish()


class JsonReader:
    """Takes an object's bytes as they come.

    The image is the member `name` of an object at this depth, the whole one's being 1, or the first string in as many
    lists as `lists` says, one at least if any.
    """

    def __init__(self, name: str, depth: int = 1, lists: int = 0) -> None:
        self._name = name
        self._key = json.dumps(name).encode()
        self._wanted = depth
        self._lists = lists
        self._rest = bytearray()  # received, without the image
        self._at = 0  # how much of that has been looked at
        self._depth = self._tokens = 0
        self._image: Base64Decoder | None = None

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises Problem as soon as they cannot belong to an object that is wanted."""
        if self._image is not None and not self._image.ended:
            data = self._image.feed(data)
        self._rest += data
        self._scan()
        if len(self._rest) > MAX_REST:
            raise malformed(f"it may have at most {MAX_REST} bytes beside the image")

    def finish(self) -> Upload:
        """Return what the object held, all of which has been fed. Raises Problem if something is missing."""
        image, members = self.found()
        if image is None:
            raise Problem(
                "missing-image",
                f"the JSON object must have the image's file in base64 as its member {self._name!r}",
            )
        members.pop(self._name, None)
        return Upload(image, members)

    def found(self) -> tuple[bytes | None, dict[str, Any]]:
        """Return the image, if there was one, and the members, in which it is None. Raises Problem."""
        if self._image is not None and not self._image.ended:
            raise malformed(f"it ends within the member {self._name}")
        members = _parsed(bytes(self._rest))
        return None if self._image is None else self._image.content(), members

    def _scan(self) -> None:
        """Look for the image in what has not been looked at. What may go on with the next bytes is looked at again."""
        while (found := _START.search(self._rest, self._at)) is not None:
            start = found.start()
            if self._rest[start : start + 1] != b'"':
                self._depth += 1 if self._rest[start] in b"[{" else -1
                self._at = start + 1
            elif not self._string(start):
                return
            self._tokens += 1
            if self._tokens > MAX_TOKENS:
                raise malformed(f"it may have at most {MAX_TOKENS} strings and brackets")
        self._at = len(self._rest)

    def _string(self, start: int) -> bool:
        """Pass a string, and the image if it is the name of that. Return whether all of it is there that matters."""
        string = _STRING.match(self._rest, start)
        name = string is not None and self._depth == self._wanted and string[0] == self._key
        if string is None or (name and _UNDECIDED.match(self._rest, string.end())):
            self._at = start
            self._check_length(len(self._rest) - start)
            return False
        self._check_length(string.end() - start)
        self._at = string.end()
        colon = _COLON.match(self._rest, string.end()) if name else None
        if colon is not None and self._rest[colon.end() : colon.end() + 1] == b'"':
            lists = colon[0].count(b"[")
            if min(self._lists, 1) <= lists <= self._lists:
                self._depth += lists
                self._begin_image(colon.end())
        return True

    def _begin_image(self, quote: int) -> None:
        if self._image is not None:
            raise malformed(f"the member {self._name} comes several times")
        after = bytes(self._rest[quote + 1 :])
        self._rest[quote:] = b"null"
        self._at = len(self._rest)
        self._image = Base64Decoder(self._name)
        self._rest += self._image.feed(after)

    def _check_length(self, length: int) -> None:
        if length > MAX_TEXT:
            raise malformed(f"a string beside the image may have at most {MAX_TEXT} bytes")


class Base64Decoder:
    """Decodes a JSON string in base64 as it comes, up to the quote that ends it."""

    def __init__(self, name: str) -> None:
        self.ended = False
        self._name = name
        self._data = io.BytesIO()
        self._escape = self._group = b""  # the begins of an escape, and of a group of four characters
        self._padded = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, and return those after the end of the string. Raises Problem if this is not base64."""
        end = data.find(b'"')
        self.ended = end >= 0
        text = self._escape + (data[:end] if self.ended else data)
        text, self._escape = self._unescaped(text)
        text = self._group + text
        whole = len(text) // 4 * 4
        self._group = text[whole:]
        if self._padded and text:
            raise self._wrong("something comes after its padding")
        if whole:
            self._padded = text[whole - 1 : whole] == b"="
            self._write(text[:whole])
        if self.ended and (self._group or self._escape):
            raise self._wrong("its length is not a multiple of four")
        return data[end + 1 :] if self.ended else b""

    def content(self) -> bytes:
        """Return what was decoded, in the memory where it is."""
        return self._data.getvalue()

    def _unescaped(self, text: bytes) -> tuple[bytes, bytes]:
        """Return text without escapes, and the begin of one at its end."""
        if b"\\" not in text:
            return text, b""
        begun = text.rfind(b"\\", -_LONGEST_ESCAPE + 1)
        partial = (
            begun >= 0 and not self.ended and not any(text[begun:].startswith(each) for each in _ESCAPES)
        )
        text, rest = (text[:begun], text[begun:]) if partial else (text, b"")
        for escape, character in _ESCAPES.items():
            text = text.replace(escape, character)
        if b"\\" in text:
            raise self._wrong("it has an escape that is no character of base64")
        return text, rest

    def _write(self, text: bytes) -> None:
        try:
            self._data.write(binascii.a2b_base64(text, strict_mode=True))
        except binascii.Error as error:
            raise self._wrong(
                "only A–Z, a–z, 0–9, + and / belong into it, without data:… before it"
            ) from error

    def _wrong(self, detail: str) -> Problem:
        return malformed(f"the member {self._name} is not base64: {detail}")


def malformed(detail: str) -> Problem:
    """Return the problem of a body that is not the JSON that is wanted."""
    return Problem("malformed-json", f"the JSON cannot be read: {detail}")


def text_parameters(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a query has them: no nulls, lists of names with commas, other lists and objects as JSON.

    Raises Problem for text that is not Unicode.
    """
    found: dict[str, Any] = {}
    for name, value in members.items():
        if value is None:
            continue
        if name == "classes" and isinstance(value, list) and all(isinstance(each, str) for each in value):
            value = ",".join(value)
        found[name] = json.dumps(value) if isinstance(value, list | dict) else value
        try:
            f"{name}{found[name]}".encode()
        except UnicodeEncodeError as error:
            raise malformed("a string has half of a pair of surrogates") from error
    return found


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        members = json.loads(text.decode("utf-8-sig"), object_pairs_hook=_once, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise malformed("it is not JSON in UTF-8") from error
    if not isinstance(members, dict):
        raise malformed("it must be an object")
    return members


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise malformed("a member comes several times")
    return found


def _constant(name: str) -> float:
    raise malformed(f"{name} is not JSON")
