"""What was measured while training: a line in a file, a picture, and one line to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from model.evaluation.report import shown, without_nan
from model.training.reports.log import append


@dataclass(frozen=True)
class Measurement:
    """Metrics of a network on the validation data (NaN: not measured), and predictions beside the truth."""

    metrics: Mapping[str, float]
    picture: Image.Image


def record(out: Path, step: int, epoch: float, measured: Measurement, headline: Sequence[str]) -> str:
    """Add a line to `out/validation.jsonl` and a picture to `out/pictures`; return a line of the headline's metrics."""
    rounded = {name: round(value, 5) for name, value in measured.metrics.items()}
    append(out / "validation.jsonl", {"step": step, "epoch": round(epoch, 3)} | without_nan(rounded))
    path = out / "pictures" / f"step_{step:06}.jpg"
    path.parent.mkdir(exist_ok=True)
    measured.picture.save(path, quality=85)
    values = ", ".join(f"{name.replace('/', ' ')} {shown(measured.metrics[name], 3)}" for name in headline)
    return f"step {step}, epoch {epoch:.1f}: {values}"
