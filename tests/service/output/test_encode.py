"""Answers are byte for byte those of a plain way, are bounded, are given up in time, and are written in pieces."""

from __future__ import annotations

import json
import threading
from concurrent.futures import CancelledError
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config.categories import Category
from model.masks.palette import default_palette
from model.pointrend.label_map_pyramid import Pyramid
from model.pointrend.label_map_search import Level
from model.predict.instance import Instances, Mask
from model.predict.label_map import LabelMap
from service.output import limits, text
from service.output.encode import encode
from service.output.format import Found
from service.output.formats import FORMATS, names
from service.output.limits import AnswerTooLarge
from tests.service.output import plain

CATEGORIES = (Category(3, 'bär "a"\\'), Category(1, "b"), Category(7, "c"), Category(9, "d"))


def mask(side: int, box: tuple[float, ...], seed: int, least: float = -3) -> Mask:
    logits = torch.rand(side, side, generator=torch.Generator().manual_seed(seed)) * 6 + least
    return Mask(seed % 4, 0.1 + seed % 7 / 9, np.array(box, np.float32), logits, None, seed % 2 == 0)


def label_map(height: int, width: int, seed: int) -> LabelMap:
    rng = torch.Generator().manual_seed(seed)
    base = torch.randn(4, 5, 7, generator=rng)
    cells = torch.randperm(10 * 14, generator=rng)[:60].sort().values
    level = Level((10, 14), cells, torch.randn(60, 4, generator=rng))
    chosen = frozenset({0, 2}) if seed % 2 else None
    return LabelMap(Pyramid(base, [level]), (height, width), chosen, 60, False)


def found(result: Any, width: int, height: int, task: str = "instance") -> Found:
    return Found(
        request_id='ü"1',
        model="m",
        task=task,
        categories=CATEGORIES,
        palette=default_palette(4),
        width=width,
        height=height,
        result=result,
    )


def same_as_plain(case: Found, format: str) -> None:
    answer = encode(case, FORMATS[format], {"decode": 0.25}, 0.0)
    timings = {stage: round(1000 * value, 2) for stage, value in answer.seconds.items()}
    assert answer.body == plain.body(case, format, timings)
    assert answer.payload == json.loads(answer.body)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([7, 28]),
            st.tuples(*[st.floats(-15, 50, width=32)] * 2, *[st.floats(0.125, 70, width=32)] * 2),
            st.integers(0, 1000),
            st.sampled_from([-3.0, -0.5, -5.5]),
        ),
        max_size=3,
    ),
    st.integers(1, 60),
    st.integers(1, 60),
)
def test_instances_are_byte_for_byte_those_of_the_plain_way(
    drawn: list[tuple[int, tuple[float, ...], int, float]], width: int, height: int
) -> None:
    masks = [mask(side, (x, y, x + w, y + h), seed, least) for side, (x, y, w, h), seed, least in drawn]
    for name in ("rle", "rle_list", "polygon", "coco"):
        same_as_plain(found(Instances(tuple(masks)), width, height), name)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 1000))
def test_label_maps_are_byte_for_byte_those_of_the_plain_way(width: int, height: int, seed: int) -> None:
    case = found(label_map(20, 28, seed), width, height, "semantic")
    for name in ("rle", "rle_list"):
        same_as_plain(case, name)


@pytest.mark.parametrize("part", [1, 7, 100])
def test_lists_are_the_text_of_json(monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    monkeypatch.setattr(text, "_PART", part)
    rng = np.random.default_rng(part)
    for most in (1, 10, 11, 1000, 2**31 - 1):
        numbers = rng.integers(0, most, 50)
        rings = [numbers[:1].tolist(), numbers[1:30].tolist(), numbers[30:].tolist()]
        as_json = json.dumps(numbers.tolist(), separators=(",", ":")).encode()
        assert text.numbers_text(numbers).joined() == as_json
        as_json = json.dumps(rings, separators=(",", ":")).encode()
        assert text.lists_text(numbers, [1, 30, 50]).joined() == as_json
    assert text.numbers_text(np.array([], np.int64)).joined() == b"[]"
    assert text.lists_text(np.array([], np.int64), []).joined() == b"[]"


def test_an_answer_may_have_so_many_runs_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of all masks count together, and for polygons their corners."""
    one = mask(28, (0, 0, 100, 100), 1)
    case = found(Instances((one, one)), 100, 100)
    runs = one.runs(100, 100).ends.size // 2
    for name in (name for name in names("instance") if FORMATS[name].is_json):
        monkeypatch.setattr(limits.Allowance, "__init__", _allow(2 * runs, 10**9))
        assert encode(case, FORMATS[name], {}, 0.0).body
        monkeypatch.setattr(limits.Allowance, "__init__", _allow(2 * runs - 1, 10**9))
        with pytest.raises(AnswerTooLarge, match="may have (2000000|100000) runs of pixels"):
            encode(case, FORMATS[name], {}, 0.0)
    monkeypatch.setattr(limits.Allowance, "__init__", _allow(2 * runs, 100))
    assert encode(case, FORMATS["rle"], {}, 0.0).body
    with pytest.raises(AnswerTooLarge):
        encode(case, FORMATS["polygon"], {}, 0.0)
    monkeypatch.setattr(limits.Allowance, "__init__", _allow(10, 100))
    with pytest.raises(AnswerTooLarge):
        encode(found(label_map(8, 8, 0), 50, 50, "semantic"), FORMATS["rle"], {}, 0.0)


def _allow(runs: int, corners: int) -> Any:
    def init(self: limits.Allowance, abandoned: threading.Event) -> None:
        self.abandoned, self.runs, self.corners = abandoned, runs, corners

    return init


@pytest.mark.parametrize("name", names("instance"))
def test_masks_of_too_many_pixels_are_refused_before_anything_is_computed(name: str) -> None:
    whole = mask(7, (-5, -5, 20_000, 20_000), 1)
    broken = replace(whole, logits=None)  # type: ignore[arg-type]
    with pytest.raises(AnswerTooLarge, match="have 1280000000 pixels within the image, and 600000000 are"):
        encode(found(Instances((broken,) * 20), 8000, 8000), FORMATS[name], {}, 0.0)


class Leaves(threading.Event):
    """Says after some questions that the client has left."""

    def __init__(self, questions: int) -> None:
        super().__init__()
        self.questions = questions

    def is_set(self) -> bool:
        self.questions -= 1
        return self.questions < 0


@pytest.mark.parametrize("name", names("instance"))
def test_a_leaving_client_ends_the_work_within_a_mask(name: str) -> None:
    gone = Leaves(1)
    with pytest.raises(CancelledError):
        encode(found(Instances((mask(28, (0, 0, 900, 900), 1),)), 900, 900), FORMATS[name], {}, 0.0, gone)
    assert gone.questions == -1  # and nothing is asked after that


@pytest.mark.parametrize("name", names("semantic"))
def test_a_leaving_client_ends_the_work_within_a_label_map(name: str) -> None:
    gone = Leaves(2)
    case = found(label_map(1500, 1500, 1), 1500, 1500, "semantic")
    with pytest.raises(CancelledError):
        encode(case, FORMATS[name], {}, 0.0, gone)
    assert gone.questions == -1
