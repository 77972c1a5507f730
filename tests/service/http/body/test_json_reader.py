"""Images in JSON: what an object may look like, and what reading one costs at most."""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.body.form import MAX_TEXT, Upload
from service.http.body.json_reader import MAX_REST, MAX_TOKENS, JsonReader, text_parameters
from service.http.problems import Problem

IMAGE = bytes(range(256)) * 2
TEXT = base64.b64encode(IMAGE).decode()


def read(*parts: bytes, name: str = "image") -> Upload:
    reader = JsonReader(name)
    for part in parts:
        reader.feed(part)
    return reader.finish()


def body(**members: Any) -> bytes:
    return json.dumps({"image": TEXT, **members}).encode()


def slashes(text: str) -> str:
    """Return JSON as PHP writes it."""
    return text.replace("/", "\\/")


def codes(text: str) -> str:
    """Return JSON as .NET writes it."""
    return text.replace("+", "\\u002B").replace("/", "\\u002F").replace("=", "\\u003d")


def lines(text: str) -> str:
    """Return base64 of several lines, as MIME has it."""
    return "\\r\\n".join(text[at : at + 76] for at in range(0, len(text), 76))


@given(
    st.binary(max_size=200),
    st.integers(1, 60),
    st.sampled_from([str, slashes, codes, lines]),
    st.sampled_from([(0, 2), (1, 1), (2, 0)]),
)
def test_an_image_is_what_was_sent_however_it_comes(
    data: bytes, step: int, written: Callable[[str], str], around: tuple[int, int]
) -> None:
    others = {"boxes": [[1, 2, 3, 4, 'a "b\\'], [5, 6, 7, 8]], "classes": "image"}
    pairs = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in others.items()]
    pairs.insert(around[0], f'"image"\n :\t "{written(base64.b64encode(data).decode())}"')
    whole = ("{" + ", ".join(pairs) + "}\n").encode()
    parts = [whole[begin : begin + step] for begin in range(0, len(whole), step)]
    assert read(*parts) == Upload(data, others)


def test_only_the_member_at_the_top_is_the_image() -> None:
    nested = {"other": {"image": "AAAA"}, "list": ["image", {"image": "x"}]}
    assert read(body(**nested)) == Upload(IMAGE, nested)
    hugging_face = json.dumps({"inputs": TEXT, "parameters": {"inputs": "no"}}).encode()
    assert read(hugging_face, name="inputs") == Upload(IMAGE, {"parameters": {"inputs": "no"}})


@pytest.mark.parametrize(
    ("sent", "kind", "detail"),
    [
        (b"", "malformed-json", "not JSON"),
        (b"[]", "malformed-json", "must be an object"),
        (b'{"image": 5}', "missing-image", "'image'"),
        (b'{"image": null}', "missing-image", "'image'"),
        (b'{"im\\u0061ge": "AAAA"}', "missing-image", "'image'"),
        (b"{}", "missing-image", "base64"),
        (b'{"image": "AAAA', "malformed-json", "ends within the member image"),
        (b'{"image": "AAAA"', "malformed-json", "not JSON"),
        (b'{"image": "AAAA"} x', "malformed-json", "not JSON"),
        (b'{"image": "AAA"}', "malformed-json", "multiple of four"),
        (b'{"image": "AA==AAAA"}', "malformed-json", "not base64"),
        (b'{"image": "data:image/png;base64,AAAA"}', "malformed-json", "without data:"),
        (b'{"image": "AA-_"}', "malformed-json", "0–9, \\+ and /"),
        (b'{"image": "A\\tAA"}', "malformed-json", "escape"),
        (b'{"image": "AAAA\\"}', "malformed-json", "escape"),
        (b'{"image": "AAAA", "image": "AAAA"}', "malformed-json", "image comes several times"),
        (b'{"image": "AAAA", "score": 1, "score": 0}', "malformed-json", "a member comes several times"),
        (b'{"image": "AAAA", "score": NaN}', "malformed-json", "NaN is not JSON"),
        (b'{"image": "AAAA", "model": "\xff"}', "malformed-json", "UTF-8"),
        (b'{"image": "AAAA", "boxes": ' + b"[" * MAX_TOKENS + b"}", "malformed-json", "strings and brackets"),
        (b'{"image": "AAAA", "boxes": ' + b"[" * 8000 + b"]" * 100 + b"}", "malformed-json", "not JSON"),
        (b'{"image": "AAAA", "model": "' + b"a" * MAX_TEXT + b'"}', "malformed-json", "at most 16384 bytes"),
        (b'{"image": "AAAA", "boxes": [' + b"1," * MAX_REST, "malformed-json", "bytes beside the image"),
        (b'{"image": "AAAA", "points": ' + b"9" * 5000 + b"}", "malformed-json", "not JSON"),
    ],
)
def test_what_is_wrong_is_said(sent: bytes, kind: str, detail: str) -> None:
    for step in (len(sent) or 1, 1000, 7):
        with pytest.raises(Problem, match=detail) as caught:
            read(*(sent[begin : begin + step] for begin in range(0, len(sent), step)))
        assert caught.value.kind == kind


def test_padding_in_one_part_and_more_in_the_next() -> None:
    with pytest.raises(Problem, match="after its padding"):
        read(b'{"image": "AA==', b'AAAA"}')


def test_parameters_are_those_of_a_query() -> None:
    given = {
        "classes": ["disc", "ring"],
        "boxes": [[1, 2, 3, 4]],
        "score": 0.5,
        "model": None,
        "explain": True,
    }
    expected = {"classes": "disc,ring", "boxes": "[[1, 2, 3, 4]]", "score": 0.5, "explain": True}
    assert text_parameters(given) == expected
    with pytest.raises(Problem, match="surrogates"):
        text_parameters(json.loads('{"model": "\\ud800"}'))


def test_a_long_string_in_single_bytes_is_not_read_over_and_over() -> None:
    """The most that is looked at again with each byte is a string of MAX_TEXT bytes."""
    reader = JsonReader("image")
    for byte in b'{"boxes": [' + b" " * 50_000:
        reader.feed(bytes([byte]))
    assert reader._at == len(reader._rest)
    with pytest.raises(Problem, match="at most 16384 bytes"):
        reader.feed(b'"' + b"a" * 70_000)


def test_an_image_is_in_memory_once() -> None:
    size = 12_000_000
    part = base64.b64encode(bytes(48_000))
    tracemalloc.start()
    try:
        reader = JsonReader("image")
        reader.feed(b'{"image": "')
        for _ in range(size // 48_000):
            reader.feed(part)
        reader.feed(b'"}')
        upload = reader.finish()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(upload.image) == size
    assert held < size + 1_000_000 and peak < 1.3 * size
