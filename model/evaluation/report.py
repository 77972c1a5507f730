"""What an evaluation found: metrics by name, the table that is printed, and the file that is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Metrics = Mapping[str, float]  # NaN: not measured


@dataclass(frozen=True)
class Report:
    """The outcome of one evaluation."""

    metrics: Metrics
    text: str  # for people: a table
    details: Mapping[str, Any] = field(default_factory=dict)  # written beside the metrics


def write_report(path: Path, report: Report) -> None:
    """Write metrics (null: not measured) and details as JSON."""
    content = {"metrics": without_nan(report.metrics), **report.details}
    path.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")


def without_nan(metrics: Metrics) -> dict[str, float | None]:
    """Return the metrics with None for those that were not measured: JSON has no NaN."""
    return {name: None if math.isnan(value) else value for name, value in metrics.items()}


def shown(value: float, digits: int = 4) -> str:
    """Return a metric as text; a dash if it was not measured."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"
