"""The shipped weights of `anything`: what they claim, and that they draw what is in a box."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.categories import Category
from model.config.instance import MaskRCNNConfig
from model.config.presets import preset
from model.predict.instance import InstanceOptions
from model.predict.predictor import Prompt
from tests.paths import ROOT

ANYTHING = ROOT / "model" / "weights" / "anything.safetensors"


@pytest.fixture(scope="module")
def anything() -> Checkpoint[MaskRCNNConfig]:
    return of_task(open_checkpoint(ANYTHING), "instance")


def test_what_it_is(anything: Checkpoint[MaskRCNNConfig]) -> None:
    assert ANYTHING.stat().st_size <= 25_000_000
    box = anything.config.box
    assert replace(anything.config, box=replace(box, score_threshold=0.05)) == preset("anything")
    assert anything.categories == (Category(1, "object"),)


@pytest.mark.parametrize(
    ("picture", "box", "inside", "outside"),
    [
        # A person; the top of the head is in the box, the corner beside it is not hers.
        ("astronaut.jpg", (5.0, 0.0, 460.0, 512.0), (220, 400), (40, 60)),
        ("grace_hopper.jpg", (0.0, 20.0, 510.0, 600.0), (250, 450), (30, 60)),
    ],
)
def test_it_draws_what_is_in_a_box(
    anything: Checkpoint[MaskRCNNConfig],
    picture: str,
    box: tuple[float, float, float, float],
    inside: tuple[int, int],
    outside: tuple[int, int],
) -> None:
    image = np.asarray(Image.open(ROOT / "examples" / picture).convert("RGB"))
    height, width = image.shape[:2]
    options = InstanceOptions(prompts=(Prompt(box),))
    (found,) = eager_predictor(anything)(image, options).finish().masks
    assert found.category == 0
    crop = found.crop(width, height)
    mask = np.zeros((height, width), bool)
    rows, columns = crop.bitmap.shape
    mask[crop.top : crop.top + rows, crop.left : crop.left + columns] = crop.bitmap
    assert mask[inside[::-1]] and not mask[outside[::-1]]
    assert 0.2 < mask.mean() < 0.8
