"""Crops: the windows that are shown, and the same instance by every head."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.paper.heads import crops
from bench.paper.heads.crops import SHOWN, WINDOWS, Contoured, Window, contoured, parse
from tests.bench import support
from tests.bench.support import Scene
from tests.paths import ROOT


def test_windows_are_parts_of_pictures() -> None:
    assert parse("a/star.png") == Window(Path("a/star.png"))
    assert parse("a/star.png@1,2,30,40.5") == Window(Path("a/star.png"), (1, 2, 30, 40.5))
    for text in ("star.png@1,2,3", "star.png@a,b,c,d", "star.png@9,0,3,4"):
        with pytest.raises(ValueError, match=r"star\.png"):
            parse(text)
    for window in WINDOWS:
        with Image.open(ROOT / window.picture) as image:
            assert window.box is not None
            assert window.box[2] <= image.width and window.box[3] <= image.height


def test_the_instance_of_a_window_is_shown_by_every_head(scene: Scene, tmp_path: Path) -> None:
    picture, heads = scene.data.parent / "1.png", support.heads()
    part = contoured(scene.detector, heads, Window(picture, (0, 0, 40, 64)), score=0.0)
    whole = contoured(scene.detector, heads, Window(picture), score=0.0)
    assert part.box == (0, 0, 40, 64)
    assert 0 <= whole.box[0] < whole.box[2] <= 64 and 0 <= whole.box[1] < whole.box[3] <= 64
    assert set(whole.probability) == set(SHOWN)
    assert all(p.shape == (64, 64) and 0 < p.max() <= 1 for p in whole.probability.values())
    path = tmp_path / "new" / "crops.png"
    crops.draw([part, whole], path)
    with Image.open(path) as image:
        assert image.width / image.height == pytest.approx(3 / 2, rel=0.05)
    with pytest.raises(ValueError, match="no instance above score 2 there"):
        contoured(scene.detector, heads, Window(picture), score=2.0)


def test_a_mask_without_a_contour_can_be_drawn(tmp_path: Path) -> None:
    empty = np.zeros((20, 30), np.float32)
    crop = Contoured(np.zeros((20, 30, 3), np.uint8), (0, 0, 30, 20), dict.fromkeys(SHOWN, empty))
    crops.draw([crop], tmp_path / "crops.png")
    with Image.open(tmp_path / "crops.png") as image:
        low, high = image.convert("L").getextrema()
    assert low == 0 and high == 255  # black crops on white, and nothing failed for want of a contour
