"""Full-size networks with random weights through export: minutes each, `make test-slow`."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.bundle import open_bundle
from export.write import write_bundle
from tests.export.full_size import NAMES, random_checkpoint


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_export_is_the_network(name: str, tmp_path: Path) -> None:
    """Batches of 1 and 3, several sizes, a picture of nothing, 800×1067 pixels; see export/trials.py."""
    report = write_bundle(random_checkpoint(name), tmp_path / name, name=name, source={})
    assert report["passed"] and report["selection"]["detections"]["chosen"] > 100
    assert open_bundle(tmp_path / name).manifest.name == name


@pytest.mark.slow
def test_no_detections(tmp_path: Path) -> None:
    checkpoint = random_checkpoint("pointrend_rcnn_r50_fpn", finds=False)
    report = write_bundle(checkpoint, tmp_path / "none", name="none", source={}, full_size=False)
    assert report["passed"] and report["selection"]["detections"]["chosen"] == 0
