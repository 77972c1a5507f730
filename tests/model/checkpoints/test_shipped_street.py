"""The semantic weights in the repository: what they claim, and that they know a sky from a road."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from model.checkpoints.checkpoint import SemanticCheckpoint, open_semantic
from model.checkpoints.semantic_eager import eager_semantic
from model.config.semantic import any_preset
from model.data.label_maps import read_labelling
from model.predict.label_map import LabelMapOptions, label_map
from tests.paths import ROOT

STREET = ROOT / "model" / "weights" / "street.safetensors"


@pytest.fixture(scope="module")
def street() -> SemanticCheckpoint:
    return open_semantic(STREET)


def test_what_it_is(street: SemanticCheckpoint) -> None:
    assert STREET.stat().st_size <= 25_000_000
    assert street.config == any_preset("street_fpn_pointrend")
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


def test_sky_above_road(street: SemanticCheckpoint) -> None:
    labels = label_map(eager_semantic(street)(drawn_street(), LabelMapOptions()), 360, 480)
    names = [category.name for category in street.categories]
    assert (labels[:60, 120:360] == names.index("sky")).mean() > 0.9
    assert (labels[280:, 120:360] == names.index("road")).mean() > 0.9
