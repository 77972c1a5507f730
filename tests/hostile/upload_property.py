"""What must hold for any form: an upload or a problem comes of it, and few searches."""

from __future__ import annotations

from service.http.body.form import FIELDS, FormReader
from service.http.body.part_header import read_boundary
from service.http.problems import Problem

BEGIN = b"multipart/form-data; boundary="
IMAGE = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
BOXES = b'--x\r\nContent-Disposition: form-data; name="boxes"\r\n\r\n'
# Forms to begin with; what a fuzzer finds is added. The first two bytes are the size of the parts that come.
CASES = (
    b"\x05\x00" + BEGIN + b"x\n" + IMAGE + b"data\r\n" + BOXES + b"[]\r\n--x--\r\n",
    b"\x01\x00" + BEGIN + b'"x"\n' + b"before\r\n" + IMAGE + b"\r\n--x-\r\n--x--after",
    b"\xff\xff" + BEGIN + b"x\n" + IMAGE + b"a\r\n--x \t\r\n" + BOXES[5:] + b"\xff\r\n--x--",
    b"\x09\x00" + BEGIN + b"x\n" + BOXES.replace(b"boxes", b"score") + b"0.5\r\n" + IMAGE + b"\r\n--x--",
    b"\x02\x00" + BEGIN + b"x\n" + IMAGE.replace(b"name", b"name*") + b"\r\n--x--",
    b"\x02\x00" + BEGIN + b'"\\x"; boundary=y\n' + IMAGE.replace(b'"a.png"', b'"\\"a\\\\"') + b"\r\n--x--",
    b"\x03\x00multipart/form-data;;=;\n",
    b"\x03\x00" + BEGIN + b"\xff\n--\xff\r\n: \r\n\r\n",
)


class CountingReader(FormReader):
    """A reader that counts how often the bytes at hand are searched."""

    searches = 0

    def _search(self, wanted: bytes) -> int:
        self.searches += 1
        return super()._search(wanted)


def check(data: bytes) -> None:
    """Raise unless a form of these bytes is read or refused, with few searches.

    The bytes are the size of the parts that come, the content type up to a line break, and the body.
    """
    step = max(1, int.from_bytes(data[:2], "little"))
    content_type, _, body = data[2:].partition(b"\n")
    try:
        boundary = read_boundary(content_type.decode("latin-1"))
        assert 0 < len(boundary) <= 200
        reader = CountingReader(boundary)
        parts = range(0, len(body), step)
        try:
            for begin in parts:
                reader.feed(body[begin : begin + step])
            upload = reader.finish()
        finally:
            # A search for each part that comes, and three for each boundary: one a field, and the last.
            assert reader.searches <= len(parts) + 3 * (len(FIELDS) + 1)
    except Problem as problem:
        assert problem.status == 400
        assert len(problem.detail) < 400
    else:
        assert isinstance(upload.image, bytes)
        texts = "".join(upload.parameters.values())
        assert len(upload.image) + len(texts.encode()) <= 3 * len(body)
