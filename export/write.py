"""Write a bundle: graph, point head, manifest. It is compared with the network before it is put in its place."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save

from export import parity
from export.bundle import GRAPH, POINT_HEAD, open_bundle, sha256
from export.errors import ParityError
from export.golden import golden
from export.graph import OPSET, export_staged, prune
from export.manifest import MANIFEST, InstancePart, Manifest, SemanticPart
from export.measurements import Report
from export.session import Execution, GraphPass, open_session
from export.trials import trials
from model.checkpoints.checkpoint import Checkpoint
from model.config.instance import MaskRCNNConfig
from model.config.semantic import SemanticConfig
from model.errors import UserError
from model.networks.build import build_network, coarse_pass
from model.pointrend.point_head import PointHead


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str,
    source: dict[str, str],
    full_size: bool = True,
    replace: bool = False,
) -> Report:
    """Export a checkpoint, compare, and only then put the bundle at `out`. Return the parity report.

    Raises ParityError if a difference is above tolerance; `out` is then left as it was. An older bundle of the same
    checkpoint at `out` is replaced. Raises UserError as `check_out` does.
    """
    out = out.resolve()
    check_out(out, source, replace)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        # The draft has a folder of its own, because the temporary one is readable by its owner alone.
        draft, staged = Path(folder) / "bundle", Path(folder) / "staged.onnx"
        draft.mkdir()
        manifest = _write_files(checkpoint, draft, staged, name, source | checkpoint.notes)
        report = _compare(checkpoint, draft, staged, full_size)
        if not report["passed"]:
            raise ParityError("the exported graph differs from the network: " + "; ".join(report["failures"]))
        seen = golden(manifest.task, open_bundle(draft, Execution()).predictor)
        model = dataclasses.replace(manifest.model, golden=seen)
        _write_manifest(dataclasses.replace(manifest, parity=report, model=model), draft)
        _replace(out, draft, Path(folder) / "older")
    return report


def check_out(out: Path, source: Mapping[str, str], replace: bool) -> None:
    """Raise UserError if `out` is a folder that holds anything else than a bundle of this source.

    `replace` allows a bundle of another checkpoint.
    """
    if out.is_file():
        raise UserError(f"{out} is a file: name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} is not empty and holds no bundle: name another folder")
    there = _source(out / MANIFEST)
    if not replace and there.get("sha256") != source.get("sha256"):
        raise UserError(
            f"{out} holds a bundle of another checkpoint ({there.get('checkpoint', 'unknown')}): "
            "name another folder, or replace it with --replace"
        )


def _source(manifest: Path) -> Mapping[str, Any]:
    """Return what a bundle says of its checkpoint, whatever the bundle's schema; nothing if it cannot be read."""
    try:
        source = json.loads(manifest.read_bytes())["source"]
    except (ValueError, KeyError, TypeError):
        return {}
    return source if isinstance(source, dict) else {}


def _write_files(
    checkpoint: Checkpoint, draft: Path, staged: Path, name: str, source: dict[str, str]
) -> Manifest:
    """Write the bundle into `draft`, and its graph with all intermediate results to `staged`."""
    network = build_network(checkpoint.config, checkpoint.tensors)
    outputs = export_staged(coarse_pass(network), staged)
    prune(staged, draft / GRAPH, outputs)
    head = network.point_head
    manifest = Manifest(
        name=name,
        categories=checkpoint.categories,
        preprocessing=checkpoint.config.preprocessing,
        model=_PARTS[checkpoint.config.task](checkpoint),
        fine_channels=0 if head is None else head.fine_channels,
        opset=OPSET,
        files=_hashes(draft, head),
        source=source,
    )
    _write_manifest(manifest, draft)
    return manifest


def _compare(checkpoint: Checkpoint, draft: Path, staged: Path, full_size: bool) -> Report:
    """Return the report on the files of a bundle, against a network that no export has touched."""
    opened = open_bundle(draft, Execution()).predictor
    coarse = coarse_pass(build_network(checkpoint.config, checkpoint.tensors))
    run = GraphPass(open_session(staged, Execution()))
    batches = trials(checkpoint.config.preprocessing, full_size)
    return parity.check(coarse, run, opened.run, opened.head, batches)


def _instance_part(checkpoint: Checkpoint[MaskRCNNConfig]) -> InstancePart:
    config = checkpoint.config
    return InstancePart(
        point_head=config.mask if config.mask.type == "PointRendMask" else None,
        score_threshold=config.box.score_threshold,
        max_detections=config.box.max_detections,
    )


def _semantic_part(checkpoint: Checkpoint[SemanticConfig]) -> SemanticPart:
    config = checkpoint.config
    return SemanticPart(point_head=config.point, palette=checkpoint.palette, stride=config.base.stride)


_PARTS: Mapping[str, Callable[[Any], InstancePart | SemanticPart]] = {
    "instance": _instance_part,
    "semantic": _semantic_part,
}


def _hashes(draft: Path, head: PointHead | None) -> dict[str, str]:
    """Put the point head beside the graph, and return the hashes of both."""
    names = [GRAPH]
    if head is not None:
        # Not `save_file`, which makes files that only their owner may read.
        tensors = {key: value.contiguous() for key, value in head.state_dict().items()}
        (draft / POINT_HEAD).write_bytes(save(tensors))
        names.append(POINT_HEAD)
    return {name: sha256(draft / name) for name in names}


def _write_manifest(manifest: Manifest, draft: Path) -> None:
    (draft / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


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
