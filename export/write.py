"""Write a bundle: graph, point head, manifest; then read it back and compare it with the network."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from safetensors.torch import save

from export import parity, semantic_parity
from export.bundle import GRAPH, POINT_HEAD, open_bundle, sha256
from export.golden import InstanceGolden, SemanticGolden
from export.graph import OPSET, export_coarse, export_semantic
from export.manifest import MANIFEST, InstancePart, Manifest, SemanticPart
from export.session import Execution
from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.eager import eager_predictor
from model.config.instance import PointRendConfig
from model.errors import UserError
from model.networks.build import build_network
from model.networks.coarse_pass import InstancePass, SemanticPass
from model.networks.mask_heads import PointRendMaskHead
from model.pointrend.point_head import PointHead


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
        raise UserError(f"{out} is not empty and holds no bundle: name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    source = source | checkpoint.notes
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        draft = Path(folder) / "bundle"  # of its own: the temporary folder is readable by its owner alone
        draft.mkdir()
        manifest = (
            _instance(checkpoint, draft, name, source, full_size)
            if isinstance(checkpoint, Checkpoint)
            else _semantic(checkpoint, draft, name, source, full_size)
        )
        report = manifest.parity
        if not report["passed"]:
            raise ParityError("the exported graph differs from the network: " + "; ".join(report["failures"]))
        (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        _replace(out, draft, Path(folder) / "older")
    return report


def _instance(
    checkpoint: Checkpoint, draft: Path, name: str, source: dict[str, str], full_size: bool
) -> Manifest:
    """Write the files of a bundle and compare it with the network."""
    network, config = build_network(checkpoint.config, checkpoint.tensors), checkpoint.config
    export_coarse(InstancePass(network), draft / GRAPH)
    head = network.mask_head
    manifest = Manifest(
        name=name,
        categories=checkpoint.categories,
        preprocessing=config.preprocessing,
        model=InstancePart(
            point_head=config.mask if isinstance(config.mask, PointRendConfig) else None,
            score_threshold=config.box.score_threshold,
            max_detections=config.box.max_detections,
        ),
        fine_channels=config.fpn.channels,
        opset=OPSET,
        files=_files(draft, head.point if isinstance(head, PointRendMaskHead) else None),
        source=source,
    )
    (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    exported = open_bundle(draft, Execution()).predictor
    report = parity.check(eager_predictor(checkpoint), exported, full_size=full_size)
    model = dataclasses.replace(manifest.model, golden=InstanceGolden.of(exported))
    return dataclasses.replace(manifest, parity=report, model=model)


def _semantic(
    checkpoint: Checkpoint[SemanticConfig], draft: Path, name: str, source: dict[str, str], full_size: bool
) -> Manifest:
    """The same of a semantic network."""
    network, config = build_network(checkpoint.config, checkpoint.tensors), checkpoint.config
    export_semantic(SemanticPass(network), draft / GRAPH)
    manifest = Manifest(
        name=name,
        categories=checkpoint.categories,
        preprocessing=config.preprocessing,
        model=SemanticPart(point_head=config.point, palette=checkpoint.palette, stride=config.base.stride),
        fine_channels=0 if network.point is None else network.point.fine_channels,
        opset=OPSET,
        files=_files(draft, network.point),
        source=source,
    )
    (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    exported = open_bundle(draft, Execution()).predictor
    report = semantic_parity.check(eager_predictor(checkpoint), exported, full_size=full_size)
    model = dataclasses.replace(manifest.model, golden=SemanticGolden.of(exported))
    return dataclasses.replace(manifest, parity=report, model=model)


def _files(draft: Path, head: PointHead | None) -> dict[str, str]:
    """Puts the point head beside the graph; the hashes of both."""
    names = [GRAPH]
    if head is not None:
        # Bytes, because `save_file` makes files that only their owner may read.
        tensors = {key: value.contiguous() for key, value in head.state_dict().items()}
        (draft / POINT_HEAD).write_bytes(save(tensors))
        names.append(POINT_HEAD)
    return {name: sha256(draft / name) for name in names}


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
