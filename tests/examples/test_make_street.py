"""The made-up street is the one among the examples, and repeatable."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from examples import make_street
from tests.paths import ROOT


def test_the_picture_among_the_examples_is_what_the_script_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "street.jpg"
    monkeypatch.setattr(sys, "argv", ["make_street.py", "--out", str(out)])
    make_street.main()
    with Image.open(out) as drawn, Image.open(ROOT / "examples/street.jpg") as shipped:
        assert drawn.size == shipped.size == (960, 720)
        difference = np.abs(np.asarray(drawn, np.int16) - np.asarray(shipped, np.int16))
    assert difference.mean() < 2  # another version of the JPEG library rounds differently
