"""The golden picture: what counts as the same, and what a server says otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from export.golden import GOLDENS, HEIGHT, WIDTH, InstanceGolden, SemanticGolden, check, golden, picture
from model.checkpoints.checkpoint import open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.masks import rle
from model.predict.instance import Instances
from tests.parity.goldens import load_any
from tests.paths import ROOT

PIXELS = 3_759_556  # the sum of all values
NAMES = {"instance": "tiny_r50", "semantic": "tiny_semantic"}


def test_the_picture_is_the_same_everywhere() -> None:
    image = picture()
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    assert int(image.sum()) == PIXELS and image.std() > 30


@pytest.mark.parametrize("task", NAMES)
def test_the_same_network_sees_the_same(task: str) -> None:
    predictor: Any = eager_predictor(load_any(NAMES[task]))
    known = golden(task, predictor)
    check("tiny", task, known, predictor(picture(), GOLDENS[task].OPTIONS).finish())


def test_another_score_or_mask_is_a_difference() -> None:
    known = golden("instance", eager_predictor(load_any("tiny_r50")))
    assert known.difference(dataclasses.replace(known, score=known.score + 0.019)) == ""
    assert "instead of" in known.difference(dataclasses.replace(known, score=known.score + 0.021))
    nothing = rle.compress(np.array([WIDTH * HEIGHT]))
    assert "another mask" in known.difference(InstanceGolden(known.score, nothing))


def test_bf16_may_differ_more_but_not_see_something_else() -> None:
    predictor: Any = eager_predictor(load_any("tiny_r50"))
    found = predictor(picture(), InstanceGolden.OPTIONS).finish()
    known = golden("instance", predictor)
    near = dataclasses.replace(known, score=known.score - 0.05)
    check("tiny", "instance", near, found, "bf16")
    with pytest.raises(RuntimeError, match="does not see what its export saw"):
        check("tiny", "instance", near, found, "fp32")
    with pytest.raises(RuntimeError, match="does not see what its export saw"):
        check("tiny", "instance", dataclasses.replace(known, score=known.score - 0.11), found, "bf16")


@pytest.mark.parametrize("name", ["people", "anything"])
def test_the_shipped_weights_see_the_same_in_bf16(name: str) -> None:
    """Else a server on a processor with bf16 would refuse them. PyTorch's bf16 stands in for OpenVINO's."""
    predictor: Any = eager_predictor(open_checkpoint(ROOT / f"model/weights/{name}.safetensors"))
    known = golden("instance", predictor)
    with torch.autocast("cpu", torch.bfloat16):
        found = predictor(picture(), InstanceGolden.OPTIONS).finish()
    check(name, "instance", known, found, "bf16")


def test_another_confidence_or_label_map_is_a_difference() -> None:
    known = golden("semantic", eager_predictor(load_any("tiny_semantic")))
    assert isinstance(known, SemanticGolden) and len(known.classes) > 1
    assert known.difference(dataclasses.replace(known, confidence=known.confidence - 0.019)) == ""
    assert known.difference(dataclasses.replace(known, confidence=known.confidence - 0.03))
    assert known.difference(dataclasses.replace(known, counts=known.counts[::-1]))


def test_a_model_that_gives_no_mask_is_not_usable() -> None:
    with pytest.raises(RuntimeError, match="model 'tiny' gives no usable mask for a box"):
        check("tiny", "instance", None, Instances(()))


def test_a_model_that_gives_no_numbers_is_not_usable() -> None:
    predictor: Any = eager_predictor(load_any("tiny_semantic"))
    found = predictor(picture(), SemanticGolden.OPTIONS).finish()
    found.pyramid.base[0, 0, 0] = torch.nan
    with pytest.raises(RuntimeError, match="model 'tiny' gives no usable label map"):
        check("tiny", "semantic", None, found)


def test_what_is_seen_otherwise_is_said() -> None:
    predictor: Any = eager_predictor(load_any("tiny_r50"))
    known = golden("instance", predictor)
    other = dataclasses.replace(known, score=known.score - 0.1)
    found = predictor(picture(), InstanceGolden.OPTIONS).finish()
    with pytest.raises(RuntimeError, match="'tiny' does not see what its export saw .*: score .* instead of"):
        check("tiny", "instance", other, found)
