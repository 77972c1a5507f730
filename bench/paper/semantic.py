"""Label maps with and without PointRend (paper Tables 6 and 7): accuracy, points and time on one data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.paper.report import table
from model.checkpoints.checkpoint import SemanticCheckpoint, open_semantic
from model.checkpoints.semantic_eager import eager_semantic
from model.config.overrides import override
from model.config.semantic import DeepLabV3Config, SemanticFPNConfig
from model.data.label_maps import LabelMaps
from model.evaluation.semantic import check_classes, measure
from model.networks.semantic import build_semantic
from model.predict.label_map import LabelMapOptions, LabelMapPredictor
from model.predict.semantic_coarse import LabelMapCoarse


@dataclass(frozen=True)
class Variant:
    """A row: a checkpoint, perhaps without its point head or dilated."""

    label: str
    checkpoint: SemanticCheckpoint
    base_only: bool = False

    def predictor(self) -> LabelMapPredictor:
        """Without the point head if `base_only`: the coarse logits, enlarged."""
        if not self.base_only:
            return eager_semantic(self.checkpoint)
        network = build_semantic(self.checkpoint.config, self.checkpoint.tensors)

        def run(images: Tensor) -> LabelMapCoarse:
            return LabelMapCoarse(network(images).coarse, None)

        return replace(eager_semantic(self.checkpoint), run=run, head=None)


def variants(checkpoints: Sequence[SemanticCheckpoint]) -> Iterator[Variant]:
    """Each checkpoint; a PointRend model's own base; and DeepLabV3Config of stride 16 run at 8, as the paper does."""
    for checkpoint in checkpoints:
        config = checkpoint.config
        name = label(config.base)
        if config.point is not None:
            yield Variant(f"{name} + PointRend", checkpoint)
            yield Variant(f"{name} + PointRend, its base alone", checkpoint, base_only=True)
            continue
        yield Variant(name, checkpoint)
        if isinstance(config.base, DeepLabV3Config) and config.base.output_stride == 16:
            dilated = replace(config, base=replace(config.base, output_stride=8))
            yield Variant("DeepLabV3 OS-8, dilated at inference", replace(checkpoint, config=dilated))


def label(base: SemanticFPNConfig | DeepLabV3Config) -> str:
    if isinstance(base, DeepLabV3Config):
        return f"DeepLabV3 OS-{base.output_stride}"
    return f"SemanticFPN P{base.first_level}–P5"


def compare(
    files: Sequence[Path], data: LabelMaps, changes: Sequence[str] = (), limit: int | None = None
) -> dict[str, Any]:
    """Every variant on the first images (None: all) at their own size, JSON-ready.

    `changes` to every configuration, such as "preprocessing.short_edge=480". Raises CheckpointError, ValueError.
    """
    opened = [open_semantic(file) for file in files]
    rows = []
    for variant in variants([replace(c, config=override(c.config, changes)) for c in opened]):
        predictor = variant.predictor()
        check_classes(predictor, data)
        metrics, cost = measure(predictor, data, LabelMapOptions(), limit)
        rows.append({"label": variant.label, "metrics": metrics, "cost": asdict(cost)})
    sources = {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    return {
        "images": len(data.pairs[:limit]),
        "changes": list(changes),
        "checkpoints": sources,
        "rows": rows,
    }


def tables(found: Mapping[str, Any], classes: Sequence[str]) -> str:
    """Means and cost, then the given classes' IoU and boundary IoU; shares in percent."""
    means = [
        [
            row["label"],
            *(_percent(row["metrics"][name]) for name in ("mIoU", "boundary mIoU", "pixel accuracy")),
            f"{row['cost']['points']:.0f}",
            f"{1000 * row['cost']['coarse_seconds']:.0f}",
            f"{1000 * row['cost']['render_seconds']:.0f}",
        ]
        for row in found["rows"]
    ]
    each = [
        [
            row["label"],
            *(
                f"{_percent(row['metrics'][f'IoU/{name}'])} / {_percent(row['metrics'][f'boundary IoU/{name}'])}"
                for name in classes
            ),
        ]
        for row in found["rows"]
    ]
    header = ["model", "mIoU", "boundary mIoU", "pixel accuracy", "points", "coarse, ms", "render, ms"]
    return "\n\n".join([table(header, means), table(["IoU / boundary IoU", *classes], each)])


def _percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.1f}"
