"""Bodies of inferences: what they may look like, and what reading one costs at most."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.errors import ParameterError
from service.http.body.form import Upload
from service.http.inference.asked import parse_inference
from service.http.inference.body import InferenceReader
from service.http.problems import Problem

IMAGE = bytes(range(256)) * 2
TEXT = base64.b64encode(IMAGE).decode()


def tensor(**changes: Any) -> dict[str, Any]:
    found = {"name": "image", "shape": [1], "datatype": "BYTES", **changes}
    return {name: value for name, value in found.items() if value is not None}


def in_json(**changes: Any) -> bytes:
    return json.dumps(
        {"inputs": [tensor(**{"data": [TEXT], **changes})], "parameters": {"data": "no"}}
    ).encode()


def behind(image: bytes, **changes: Any) -> tuple[bytes, int]:
    """Return a body with the image behind the JSON, and the JSON's length."""
    data = len(image).to_bytes(4, "little") + image
    text = json.dumps(
        {"inputs": [tensor(**{"parameters": {"binary_data_size": len(data)}, **changes})]}
    ).encode()
    return text + data, len(text)


def read(body: bytes, length: int | None = None, step: int = 1 << 20) -> Upload:
    reader = InferenceReader(length)
    for begin in range(0, len(body), step):
        reader.feed(body[begin : begin + step])
    return reader.finish()


@given(st.binary(max_size=200), st.integers(1, 60), st.booleans())
def test_an_image_is_what_was_sent_however_it_comes(image: bytes, step: int, nested: bool) -> None:
    text = base64.b64encode(image).decode()
    data: Any = [[text]] if nested else [text]
    shape = [1, 1] if nested else [1]
    assert read(in_json(data=data, shape=shape), step=step).image == image
    spaced = json.dumps({"inputs": [tensor(data=data, shape=shape)]}, indent=2).encode()
    assert read(spaced, step=step).image == image
    body, length = behind(image, shape=shape)
    assert read(body, length, step).image == image
    first = (
        f'{{"inputs": [{{"data": {json.dumps(data)}, "name": "image", "shape": [1], "datatype": "BYTES"}}]}}'
    )
    assert read(first.encode(), step=step).image == image


def test_the_other_members_are_kept() -> None:
    assert read(in_json()).parameters["parameters"] == {"data": "no"}
    body = in_json()
    assert read(body, len(body)) == read(body)


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"name": "picture"}, "name must be image, got 'picture'"),
        ({"datatype": "UINT8"}, "datatype must be BYTES"),
        ({"shape": [2]}, r"shape must be \[1\] or \[1, 1\], got '\[2\]'"),
        ({"colour": 1}, "a tensor has no 'colour'"),
        ({"parameters": []}, "must be an object"),
        ({"parameters": {"shared_memory_region": "a"}}, "no parameter 'shared_memory_region'"),
    ],
)
def test_another_tensor_is_refused(changes: dict[str, Any], detail: str) -> None:
    if changes.get("parameters") == []:
        changes = {"parameters": [1]}
    with pytest.raises(ParameterError, match=detail):
        read(in_json(**changes))


@pytest.mark.parametrize("inputs", [None, [], {}, [1], [tensor(), tensor()]])
def test_there_is_one_input(inputs: Any) -> None:
    with pytest.raises(ParameterError, match="a list of one tensor, image"):
        read(json.dumps({"inputs": inputs}).encode())


@pytest.mark.parametrize("data", [None, [], [5], [None], {"a": TEXT}])
def test_an_input_without_an_image_is_refused(data: Any) -> None:
    with pytest.raises(Problem, match="must have the image's file as its only element") as caught:
        read(in_json(data=data))
    assert caught.value.kind == "missing-image"


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(Problem, match="not base64"):
        read(in_json(data=["?"]))
    with pytest.raises(Problem, match="data comes several times"):
        read(b'{"inputs": [{"data": ["AAAA"], "data": ["AAAA"]}]}')
    with pytest.raises(Problem, match="must have the image's file as its only"):
        read(in_json(data=[TEXT, "more"]))
    body, length = behind(IMAGE)
    with pytest.raises(Problem, match="says that it has 2000 bytes"):
        read(body, 2000)
    with pytest.raises(ParameterError, match="behind the JSON are 515 bytes, got '516'"):
        read(body[:-1], length)
    with pytest.raises(ParameterError, match="behind the JSON are 516 bytes, got '9'"):
        read(*behind(IMAGE, parameters={"binary_data_size": 9}))
    with pytest.raises(ParameterError, match="behind the JSON are 516 bytes, got 'None'"):
        read(*behind(IMAGE, parameters=None))
    with pytest.raises(ParameterError, match="behind the JSON are 0 bytes, got '9'"):
        read(in_json(parameters={"binary_data_size": 9}, data=None))
    with pytest.raises(ParameterError, match="the length says 512, and 511 bytes follow"):
        read(body[:-1].replace(b"516", b"515"), length)
    with pytest.raises(ParameterError, match="given twice"):
        read(*behind(IMAGE, data=[TEXT]))


# Pieces of inferences, which random bytes would hardly ever be, and members with values of other kinds.
NAMES = st.sampled_from(
    [
        "inputs",
        "outputs",
        "parameters",
        "data",
        "name",
        "shape",
        "datatype",
        "binary_data_size",
        "id",
        "timeout",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["image", "BYTES", "AAAA", "boxes"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
TENSORS = st.builds(
    lambda given, changes: {**given, **changes},
    st.sampled_from([tensor(), tensor(data=["AAAA"])]),
    st.dictionaries(NAMES, VALUES, max_size=2),
)
BODIES = st.builds(
    lambda tensors, more: {"inputs": tensors, **more},
    st.lists(TENSORS, min_size=1, max_size=2),
    st.dictionaries(NAMES, VALUES, max_size=2),
)


@given(BODIES, st.integers(0, 8), st.binary(max_size=9) | st.none(), st.integers(1, 50))
def test_any_body_is_read_or_refused(body: Any, less: int, data: bytes | None, step: int) -> None:
    text = json.dumps(body).encode()
    length = None if data is None else len(text) - less
    try:
        upload = read(text + (data or b""), length, step)
        asked = parse_inference(upload.parameters, "instance")
    except (Problem, ParameterError) as error:
        assert len(str(error)) < 500
    else:
        assert isinstance(upload.image, bytes) and asked.binary


def test_data_of_what_is_no_input_is_no_image() -> None:
    with pytest.raises(Problem, match="must have the image's file as its only element"):
        read(json.dumps({"outputs": [{"data": ["AAAA"]}], "inputs": [tensor()]}).encode())


def test_an_image_is_in_memory_once() -> None:
    size = 12_000_000
    part = bytes(48_000)
    text, length = behind(b"", parameters={"binary_data_size": size + 4})
    tracemalloc.start()
    try:
        reader = InferenceReader(length)
        reader.feed(text[:length] + size.to_bytes(4, "little"))
        for _ in range(size // len(part)):
            reader.feed(part)
        upload = reader.finish()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(upload.image) == size
    assert held < size + 1_000_000 and peak < 1.3 * size
