"""Label maps with and without PointRend (paper Tables 6 and 7): accuracy, points and time on one data set."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.markdown import table
from bench.paper.report import percent
from export.bundle import sha256
from model.checkpoints.checkpoint import Checkpoint, of_task, open_checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.overrides import override
from model.config.semantic import DeepLabV3Config, SemanticConfig, SemanticFPNConfig
from model.data.label_maps import LabelMaps
from model.evaluation.label_maps import check_classes, measure
from model.predict.label_map import LabelMapOptions


@dataclass(frozen=True)
class Variant:
    """A row of the table: a network and its label."""

    label: str
    checkpoint: Checkpoint[SemanticConfig]


def variants(checkpoints: Sequence[Checkpoint[SemanticConfig]]) -> Iterator[Variant]:
    """Yield each checkpoint, and what the paper compares it with.

    That is the base alone of a PointRend model, and a DeepLabV3 of stride 16 that predicts dilated to stride 8.
    """
    for checkpoint in checkpoints:
        base, point = checkpoint.config.base, checkpoint.config.point
        name = label(base)
        if point is not None:
            yield Variant(f"{name} + PointRend", checkpoint)
            yield Variant(f"{name} + PointRend, its base alone", base_alone(checkpoint))
            continue
        yield Variant(name, checkpoint)
        if isinstance(base, DeepLabV3Config) and base.output_stride == 16:
            dilated = replace(checkpoint.config, base=replace(base, output_stride=8))
            yield Variant("DeepLabV3 OS-8, dilated at inference", replace(checkpoint, config=dilated))


def base_alone(checkpoint: Checkpoint[SemanticConfig]) -> Checkpoint[SemanticConfig]:
    """Return the same network without its point head. Its label maps are the coarse logits, enlarged."""
    tensors = {name: t for name, t in checkpoint.tensors.items() if not name.startswith("point.")}
    return replace(checkpoint, config=replace(checkpoint.config, point=None), tensors=tensors)


def label(base: SemanticFPNConfig | DeepLabV3Config) -> str:
    """Return the name of a base model in the tables."""
    if isinstance(base, DeepLabV3Config):
        return f"DeepLabV3 OS-{base.output_stride}"
    return f"SemanticFPN P{base.first_level}–P5"


def compare(
    files: Sequence[Path], data: LabelMaps, changes: Sequence[str] = (), limit: int | None = None
) -> dict[str, Any]:
    """Measure every variant on the first images (None: all) at their own size. The result is ready for JSON.

    `changes` are made to every configuration, as in "preprocessing.short_edge=480". Raises CheckpointError, ValueError.
    """
    opened = [of_task(open_checkpoint(file), "semantic") for file in files]
    rows = []
    for variant in variants([replace(c, config=override(c.config, changes)) for c in opened]):
        predictor = eager_predictor(variant.checkpoint)
        check_classes(predictor, data)
        metrics, cost = measure(predictor, data, LabelMapOptions(), limit)
        rows.append({"label": variant.label, "metrics": metrics, "cost": asdict(cost)})
    sources = {file.parent.name: sha256(file) for file in files}
    return {
        "images": len(data.pairs[:limit]),
        "changes": list(changes),
        "checkpoints": sources,
        "rows": rows,
    }


def tables(found: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Return means and cost, then the given classes' IoU and boundary IoU. Shares are in percent."""
    means = [
        [
            row["label"],
            *(percent(row["metrics"][name]) for name in ("mIoU", "boundary mIoU", "pixel accuracy")),
            f"{row['cost']['points']:.0f}",
            f"{1000 * row['cost']['coarse_seconds']:.0f}",
            f"{1000 * row['cost']['render_seconds']:.0f}",
        ]
        for row in found["rows"]
    ]
    each = [[row["label"], *(_pair(row["metrics"], name) for name in classes)] for row in found["rows"]]
    header = ["model", "mIoU", "boundary mIoU", "pixel accuracy", "points", "coarse, ms", "render, ms"]
    return "\n\n".join([table(header, means), table(["IoU / boundary IoU", *classes], each)])


def _pair(metrics: Mapping[str, float | None], name: str) -> str:
    return f"{percent(metrics[f'IoU/{name}'])} / {percent(metrics[f'boundary IoU/{name}'])}"
