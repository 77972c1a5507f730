"""Format `label_studio`, byte for byte that of Label Studio's own encoder, and `label_studio_polygon`."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from shapely import LinearRing, Point

from model.masks.paste import Crop
from model.masks.polygon import polygons
from model.masks.runs import runs_of
from model.predict.instance import Instances, Mask
from service.output.format import Found, TagNames
from service.output.limits import AnswerTooLarge
from service.output.tools import label_studio, label_studio_polygon
from tests.service.output.test_encode import found
from tests.service.output.tools.regions_of_noise import CASES, CATEGORIES, answer, bitmaps, classes, instances


def decoded(packed: list[int]) -> NDArray[np.uint8]:
    """Return the values of Label Studio's run lengths, by the rules of its decoder."""
    bits = np.unpackbits(np.array(packed, np.uint8)).tolist()
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int("".join(map(str, bits[place - count : place])), 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated, length = read(1), read(sizes[read(2)]) + 1
        values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
    assert len(bits) - place <= 8
    return np.array(values, np.uint8)


def same(case: Found, decode: Any) -> None:
    prediction = answer(case, "label_studio")
    assert prediction["model_version"] == case.model
    for region, (index, bitmap) in zip(prediction["result"], bitmaps(case), strict=True):
        assert region["value"]["brushlabels"] == [CATEGORIES[index].name]
        assert (region["original_width"], region["original_height"]) == (case.width, case.height)
        pixels = np.reshape(decode(region["value"]["rle"]), (case.height, case.width, 4))
        np.testing.assert_array_equal(pixels, np.repeat(bitmap[:, :, None], 4, 2) * 255)
    ids = [region["id"] for region in prediction["result"]]
    assert len(set(ids)) == len(ids)


@settings(deadline=None, max_examples=40)
@given(*CASES)
def test_masks_are_their_pixels(drawn: Any, width: int, height: int) -> None:
    same(instances(drawn, width, height), decoded)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_classes_are_their_pixels(width: int, height: int, seed: int) -> None:
    same(classes(width, height, seed), decoded)


def test_long_runs_and_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of more values than one may have, and runs that come in several parts, are what they were."""
    whole = Mask(0, 0.5, np.array([0, 0, 400, 300], np.float32), torch.full((7, 7), 9.0), None, False)
    striped = torch.tensor([9.0, -9.0]).repeat(14)[:, None].repeat(1, 28)
    stripes = Mask(1, 0.5, np.array([100, 10, 300, 290], np.float32), striped, None, False)
    case = found(Instances((whole, stripes)), 400, 300)
    expected = answer(case, "label_studio")
    same(case, decoded)
    monkeypatch.setattr(label_studio, "_PART", 7)
    assert answer(case, "label_studio") == expected


@settings(deadline=None, max_examples=25)
@given(*CASES)
def test_polygons_are_the_parts_of_a_mask(drawn: Any, width: int, height: int) -> None:
    polygons_are_near(instances(drawn, width, height))


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_polygons_are_the_parts_of_a_class(width: int, height: int, seed: int) -> None:
    polygons_are_near(classes(width, height, seed))


def polygons_are_near(case: Found) -> None:
    """Each part has a region, all of whose corners are corners of the outline, none of which is far from it."""
    regions = answer(case, "label_studio_polygon")["result"]
    place = 0
    for index, bitmap in bitmaps(case):
        for ring in polygons(runs_of(Crop(0, 0, bitmap))).tolist():
            region, outline = regions[place], np.reshape(ring, (-1, 2))
            place += 1
            assert region["value"]["polygonlabels"] == [CATEGORIES[index].name]
            points = np.array(region["value"]["points"]) * (case.width / 100, case.height / 100)
            kept = np.rint(points).astype(int)
            np.testing.assert_allclose(points, kept, atol=1e-5)
            assert 3 <= len(kept) <= len(outline)
            assert {*map(tuple, kept.tolist())} <= {*map(tuple, outline.tolist())}
            line = LinearRing(kept)
            assert (
                max(line.distance(Point(*corner)) for corner in outline)
                <= label_studio_polygon.TOLERANCE + 1e-9
            )
    assert place == len(regions) == len({each["id"] for each in regions})


def test_polygons_of_noise_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_studio_polygon, "MAX_EDITED_RUNS", 20)
    with pytest.raises(AnswerTooLarge, match="may have 20 runs"):
        answer(classes(60, 50, 1), "label_studio_polygon")


@pytest.mark.parametrize("format", ["label_studio", "label_studio_polygon"])
def test_a_configuration_has_its_own_names(format: str) -> None:
    drawn: Any = [(28, (3.0, 5.0, 40.0, 30.0), 0, 3.0)] * 2
    case = instances(drawn, 60, 50)
    name = CATEGORIES[case.result.masks[0].category].name  # type: ignore[attr-defined]
    tags = TagNames("mask", "photo", {name: "Usual"}, (None, "Given"))
    found = answer(dataclasses.replace(case, tags=tags), format)["result"]
    assert {(each["from_name"], each["to_name"]) for each in found} == {("mask", "photo")}
    labels = [each["value"][each["type"]] for each in found]
    assert labels[0] == ["Usual"] and labels[-1] == ["Given"]


@pytest.mark.parametrize("seed", range(5))
def test_label_studio_s_own_encoder_writes_the_same_bytes(seed: int) -> None:
    brush = _brush()
    drawn: Any = [(28, (3.0, 5.0, 40.0, 30.0), seed, -3.0), (7, (0.0, 0.0, 200.0, 150.0), seed + 1, -3.0)]
    for case in (instances(drawn, 200, 150), classes(60, 50, seed)):
        same(case, brush.decode_rle)
        for region, (_, bitmap) in zip(answer(case, "label_studio")["result"], bitmaps(case), strict=True):
            assert region["value"]["rle"] == brush.mask2rle(bitmap.astype(np.uint8) * 255)


def _brush() -> Any:
    for name in ("label_studio_sdk.converter.brush", "label_studio_converter.brush"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return pytest.skip("neither label-studio-sdk nor label-studio-converter is installed")
