"""The figures of the measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from bench.paper import plot
from bench.paper.adaptive import AUTO
from bench.paper.adaptive_tasks import MaskCurve
from bench.paper.heads.measure import METRICS, OUTPUTS
from bench.paper.heads.variants import NAMES


def test_figures_are_small(tmp_path: Path) -> None:
    metrics: dict[str, float | None] = {f"{k}/{m}": 0.2 for k in ("mask", "boundary") for m in METRICS}
    unmeasured = dict.fromkeys(metrics, None)
    precision = {n: {str(o): unmeasured if n == "conv" else metrics for o in OUTPUTS} for n in NAMES}
    shares = [(p, (784 if p == AUTO else int(p)) / 224**2) for p in MaskCurve.points]
    entries: list[dict[str, Any]] = [
        {"points": p, "share": s, "mean_iou": 1 - 1e-3 / s, "worst_iou": 0.9} for p, s in shares
    ]
    paths = plot.draw({"precision": precision}, {"sides": {"224": entries, "448": entries}}, tmp_path / "new")
    assert [path.name for path in paths] == [
        "paper_resolution.png",
        "paper_points.png",
        "paper_adaptive.png",
    ]
    for path in paths:
        assert path.stat().st_size < 80_000
        with Image.open(path) as image:
            assert min(image.size) > 300
