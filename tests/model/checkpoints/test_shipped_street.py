"""The semantic weights in the repository: what they claim, and that they know a sky from a road."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.presets import preset
from model.config.semantic import SemanticConfig
from model.data.labelling import read_labelling
from model.predict.label_map import LabelMapOptions
from tests.paths import ROOT

STREET = ROOT / "model" / "weights" / "street.safetensors"


@pytest.fixture(scope="module")
def street() -> Checkpoint[SemanticConfig]:
    return of_task(open_checkpoint(STREET), "semantic")


def test_what_it_is(street: Checkpoint[SemanticConfig]) -> None:
    assert STREET.stat().st_size <= 25_000_000
    assert street.config == preset("street_fpn_pointrend")
    labelling = read_labelling(ROOT / "examples" / "camvid.json")
    assert (street.categories, street.palette) == (labelling.classes, labelling.palette)


def drawn_street() -> NDArray[np.uint8]:
    """A pale sky between two rows of houses, and a grey road that narrows towards the middle."""
    image = Image.new("RGB", (480, 360), (225, 235, 245))
    pen = ImageDraw.Draw(image)
    pen.polygon([(0, 40), (200, 170), (200, 190), (0, 300)], fill=(110, 70, 60))
    pen.polygon([(480, 40), (280, 170), (280, 190), (480, 300)], fill=(120, 85, 70))
    pen.polygon([(200, 190), (280, 190), (480, 310), (480, 360), (0, 360), (0, 310)], fill=(95, 95, 98))
    noise = np.random.default_rng(0).normal(0, 5, (360, 480, 3))
    return (np.asarray(image.filter(ImageFilter.GaussianBlur(1))) + noise).clip(0, 255).astype(np.uint8)


def test_sky_above_road(street: Checkpoint[SemanticConfig]) -> None:
    labels = eager_predictor(street)(drawn_street(), LabelMapOptions()).finish().labels(360, 480)
    names = [category.name for category in street.categories]
    assert (labels[:60, 120:360] == names.index("sky")).mean() > 0.9
    assert (labels[280:, 120:360] == names.index("road")).mean() > 0.9
