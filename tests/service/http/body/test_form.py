"""Forms: what they may look like, and what reading one costs at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.http.body.form import MAX_HEAD, FormReader, Upload
from service.http.body.part_header import parse_part, read_boundary
from service.http.problems import Problem
from tests.hostile.upload_property import CountingReader

IMAGE = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
BOXES = b'Content-Disposition: form-data; name="boxes"\r\n\r\n'
LINE = b"--x\r\n"
LIKE = b"\r\n--xa"  # a line that begins with the boundary and goes on
END = b"\r\n--x--\r\n"


def read(*parts: bytes, boundary: bytes = b"x") -> Upload:
    reader = FormReader(boundary)
    for part in parts:
        reader.feed(part)
    return reader.finish()


@given(st.binary(max_size=300).filter(lambda data: b"\r\n--x" not in data), st.integers(1, 50))
def test_an_image_is_what_was_sent_however_it_comes(data: bytes, step: int) -> None:
    body = LINE + IMAGE + data + b"\r\n" + LINE + BOXES + b"[]" + END
    parts = [body[begin : begin + step] for begin in range(0, len(body), step)]
    assert read(*parts) == Upload(data, {"boxes": "[]"})


@pytest.mark.parametrize(
    "body",
    [
        b"a preamble\r\n" + LINE + IMAGE + b"data" + END,
        LINE + IMAGE + b"data" + END + b"an epilogue",
        b"--x \t\r\n" + IMAGE + b"data\r\n--x--",
        LINE + IMAGE.replace(b"form-data", b"FORM-DATA").lower() + b"data" + END,
        LINE + IMAGE.replace(b'"image"', b"image") + b"data" + END,
        LINE + b"Content-Type: image/png; charset=punycode\r\n" + IMAGE + b"data" + END,
        LINE + IMAGE.replace(b'filename="a.png"', b"filename*=utf-8''%e4.png") + b"data" + END,
        LINE + IMAGE.replace(b"a.png", b'a \\"good\\"; name=\\\\b') + b"data" + END,
        LINE + b"Content-Transfer-Encoding: binary\r\n" + IMAGE + b"data" + END,
    ],
)
def test_what_clients_may_write(body: bytes) -> None:
    assert read(body) == Upload(b"data")


@pytest.mark.parametrize("charset", ["punycode", "undefined", "utf-7", "idna", "\0"])
def test_the_charset_of_text_is_ours(charset: str) -> None:
    head = BOXES.replace(
        b"\r\n\r\n", b"\r\nContent-Type: text/plain; charset=" + charset.encode() + b"\r\n\r\n"
    )
    found = read(LINE + head + "[\xe4]".encode() + b"\r\n" + LINE + IMAGE + END)
    assert found == Upload(b"", {"boxes": "[\xe4]"})


MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (LINE + IMAGE + LIKE * (MEGABYTE // len(LIKE)), "begins with the boundary and goes on"),
        (LINE + IMAGE + b"\r\n--x" + b" " * MEGABYTE, f"at most {MAX_HEAD} bytes after a boundary"),
        (LINE + IMAGE + END + bytes(MEGABYTE), f"at most {MAX_HEAD} bytes after the last"),
        (b"\r\n" * (MEGABYTE // 2), f"at most {MAX_HEAD} bytes before the first"),
        (LINE + b"a:b\r\n" * (MEGABYTE // 5), f"at most {MAX_HEAD} bytes of a part's headers"),
        (LINE + b"a:b\r\n" * 1000 + IMAGE, "at most 16 headers of 2048 bytes"),
        (LINE + b"a: " + b"b" * 4000 + b"\r\n" + IMAGE, "at most 16 headers of 2048 bytes"),
        ((LINE + IMAGE + b"\r\n") * (MEGABYTE // 80), "image comes several times"),
        (
            LINE + b"Content-Transfer-Encoding: base64\r\n" + IMAGE + b"ZGF0YQ==" + END,
            "'base64' is not supported",
        ),
        (LINE + IMAGE + b"data", "ends within the field image"),
        (LINE + IMAGE + b"data\r\n" + LINE + BOXES[:-2], "ends within the headers of a field"),
        (LINE + IMAGE.replace(b'"image"', b'"image'), "cannot be read"),
        (LINE + IMAGE.replace(b'"image"', b"?;" * 900), "cannot be read"),
    ],
)
@pytest.mark.parametrize("step", [7, 16_384])
def test_what_would_cost_much_is_refused_early(data: bytes, told: str, step: int) -> None:
    reader = CountingReader(b"x")
    with pytest.raises(Problem, match=told) as caught:
        for begin in range(0, len(data), step):
            reader.feed(data[begin : begin + step])
        reader.finish()
    assert caught.value.kind == "malformed-multipart"
    assert reader.searches <= 20 + MAX_HEAD // step + 1


def test_near_boundaries_cost_a_search_each_time_bytes_come() -> None:
    reader = CountingReader(b"x" * 70)
    data = (b"\r\n--" + b"x" * 69 + b"y") * 10_000
    reader.feed(b"--" + b"x" * 70 + b"\r\n" + IMAGE)
    before = reader.searches
    for begin in range(0, len(data), 1000):
        reader.feed(data[begin : begin + 1000])
    assert reader.searches - before == -(-len(data) // 1000)
    reader.feed(b"\r\n--" + b"x" * 70 + b"--")
    assert reader.finish() == Upload(data)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=abc", b"abc"),
        ('multipart/form-data; charset=utf-8; boundary="a b;c"', b"a b;c"),
        ("multipart/form-data;BOUNDARY=abc;", b"abc"),
    ],
)
def test_boundaries(content_type: str, boundary: bytes) -> None:
    assert read_boundary(content_type) == boundary


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "a" * 201,
     "multipart/form-data; ;;=;", 'multipart/form-data; boundary="abc', "multipart/form-data" + ";a=b" * 4000],
)  # fmt: skip
def test_no_usable_boundary(content_type: str) -> None:
    with pytest.raises(Problem) as caught:
        read_boundary(content_type)
    assert caught.value.kind == "malformed-multipart"


def test_names_are_utf_8() -> None:
    part = parse_part('Content-Disposition: form-data; name="\xe4"'.encode())
    assert (part.name, part.is_file) == ("\xe4", False)
