"""The weights in the repository: what they claim, and that they find people."""

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
from tests.paths import ROOT

PEOPLE = ROOT / "model" / "weights" / "people.safetensors"


@pytest.fixture(scope="module")
def people() -> Checkpoint[MaskRCNNConfig]:
    return of_task(open_checkpoint(PEOPLE), "instance")


def test_what_it_is(people: Checkpoint[MaskRCNNConfig]) -> None:
    assert PEOPLE.stat().st_size <= 25_000_000
    box = people.config.box
    assert 0.01 < box.score_threshold < 0.04  # calibration moved the preset's along
    trunk = replace(people.config.backbone, freeze_at=2)  # the last runs trained less of it
    assert replace(people.config, box=replace(box, score_threshold=0.05), backbone=trunk) == preset("people")
    assert people.categories == (Category(1, "person"),)


@pytest.mark.parametrize("picture", ["astronaut.jpg", "grace_hopper.jpg"])
def test_it_finds_the_person(people: Checkpoint[MaskRCNNConfig], picture: str) -> None:
    """One large person; the middle of the lower half is body, the upper corners are not."""
    image = np.asarray(Image.open(ROOT / "examples" / picture).convert("RGB"))
    height, width = image.shape[:2]
    best = eager_predictor(people)(image, InstanceOptions()).finish().masks[0]
    assert best.score > 0.8
    mask = np.zeros((height, width), bool)
    found = best.crop(width, height)
    rows, columns = found.bitmap.shape
    mask[found.top : found.top + rows, found.left : found.left + columns] = found.bitmap
    assert mask[int(0.7 * height), width // 2]
    assert not mask[2, 2]
    assert 0.2 < mask.mean() < 0.8


def test_it_finds_nobody_in_a_grey_picture(people: Checkpoint[MaskRCNNConfig]) -> None:
    grey = np.full((200, 300, 3), 128, np.uint8)
    assert eager_predictor(people)(grey, InstanceOptions()).regions == []
