"""Write a bundle: graph, point head, manifest; then read it back and compare it with the network."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save

from export import parity
from export.bundle import GRAPH, MANIFEST, POINT_HEAD, Execution, Manifest, open_bundle, sha256
from export.coarse import OPSET, export_coarse
from export.golden import golden
from model.checkpoint import Checkpoint
from model.coarse_pass import CoarsePass
from model.config import PointRendMask
from model.eager import eager_predictor
from model.mask_heads import PointRendMaskHead
from model.rcnn import build


class ParityError(RuntimeError):
    """The exported graph does not do what the network does."""


def write_bundle(
    checkpoint: Checkpoint, out: Path, *, name: str, source: dict[str, str], full_size: bool = True
) -> dict[str, Any]:
    """Export, check, and only then put the bundle at `out`. Returns the parity report.

    Raises ParityError if a difference is above tolerance; `out` is then left as it was. An older
    bundle at `out` is replaced; any other non-empty folder is refused (ValueError).
    """
    out = out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise ValueError(f"{out} is not empty and holds no bundle: name another folder")
    network = build(checkpoint.config, checkpoint.tensors)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        draft = Path(folder) / "bundle"  # of its own: the temporary folder is readable by its owner alone
        draft.mkdir()
        export_coarse(CoarsePass(network), draft / GRAPH)
        names = [GRAPH]
        if isinstance(network.mask_head, PointRendMaskHead):
            head = network.mask_head.point.state_dict()
            # Bytes, because `save_file` makes files that only their owner may read.
            tensors = {key: value.contiguous() for key, value in head.items()}
            (draft / POINT_HEAD).write_bytes(save(tensors))
            names.append(POINT_HEAD)
        config = checkpoint.config
        manifest = Manifest(
            name=name,
            task="instance",
            categories=checkpoint.categories,
            preprocessing=config.preprocessing,
            score_threshold=config.box.score_threshold,
            max_detections=config.box.max_detections,
            point_head=config.mask if isinstance(config.mask, PointRendMask) else None,
            fine_channels=config.fpn.channels,
            opset=OPSET,
            files={file: sha256(draft / file) for file in names},
            source=source | checkpoint.notes,
        )
        (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        exported = open_bundle(draft, Execution()).predictor
        report = parity.check(eager_predictor(checkpoint), exported, full_size=full_size)
        if not report["passed"]:
            raise ParityError("the exported graph differs from the network: " + "; ".join(report["failures"]))
        (draft / MANIFEST).write_text(
            dataclasses.replace(manifest, parity=report, golden=golden(exported)).to_json(), encoding="utf-8"
        )
        _replace(out, draft, Path(folder) / "older")
    return report


def _replace(out: Path, draft: Path, older: Path) -> None:
    """Put the draft at `out`, or leave everything as it was (OSError, as when `out` is a mount point)."""
    if out.exists():
        out.rename(older)
    try:
        draft.rename(out)
    except OSError:
        if older.exists():
            older.rename(out)
        raise
