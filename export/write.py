"""Write a bundle: graphs, point head, manifest. It is compared with the network before it is put in its place."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save
from torch import Tensor

from export import parity
from export.bundle import BOXES, GRAPH, POINT_HEAD, Bundle, open_bundle, sha256
from export.detector.check import write_detector
from export.detector.parity import compare_detectors, plain_detector
from export.detector.run import DETECTOR, detector_categories, open_detector
from export.detector.settings import DetectorSettings
from export.errors import ParityError
from export.execution import Execution
from export.golden import golden
from export.graph import OPSET, export_boxes, export_staged, prune
from export.manifest import MANIFEST, DetectorPart, InstancePart, Manifest, SemanticPart
from export.measurements import Measurements, Report
from export.session import GraphPass, open_graph, open_session
from export.trials import picture, trials
from model.checkpoints.checkpoint import Checkpoint
from model.config.instance import MaskRCNNConfig
from model.config.semantic import SemanticConfig
from model.errors import UserError
from model.networks.build import box_pass, build_network, coarse_pass
from model.pointrend.point_head import PointHead
from model.predict.coarse import FEATURES
from model.predict.instance import InstanceOptions, InstancePredictor
from model.predict.predictor import Predictor


@dataclasses.dataclass(frozen=True)
class DetectorFile:
    """A detector's ONNX file, and how it is used."""

    path: Path
    settings: DetectorSettings


_PICTURE = 240, 320  # height and width of the pictures in which a detector is compared
_DETECTED = 10  # of its boxes in each, whose masks are compared


def write_bundle(
    checkpoint: Checkpoint,
    out: Path,
    *,
    name: str,
    source: dict[str, str],
    full_size: bool = True,
    replace: bool = False,
    detector: DetectorFile | None = None,
) -> Report:
    """Export a checkpoint, compare, and only then put the bundle at `out`. Return the parity report.

    Raises ParityError if a difference is above tolerance; `out` is then left as it was. An older bundle of the same
    checkpoint at `out` is replaced. Raises UserError as `check_out` does, and if the detector cannot be used.
    """
    out = out.resolve()
    check_out(out, source, replace)
    if detector is not None:
        check_mask_head(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as folder:
        # The draft has a folder of its own, because the temporary one is readable by its owner alone.
        draft, staged = Path(folder) / "bundle", Path(folder) / "staged.onnx"
        draft.mkdir()
        manifest = _write_files(checkpoint, draft, staged, name, checkpoint.notes | source, detector)
        report = _compare(checkpoint, draft, staged, full_size, detector)
        if not report["passed"]:
            raise ParityError("the exported graph differs from the network: " + "; ".join(report["failures"]))
        manifest = _with_goldens(manifest, open_bundle(draft, Execution()).predictor)
        _write_manifest(dataclasses.replace(manifest, parity=report), draft)
        _replace(out, draft, Path(folder) / "older")
    return report


def check_mask_head(checkpoint: Checkpoint) -> None:
    """Raise UserError unless a checkpoint draws masks in boxes of any class that a detector may find."""
    if checkpoint.config.task != "instance":
        raise UserError("--detector is for models of instances: label maps have no boxes")
    if len(checkpoint.categories) > 1:
        raise UserError(
            f"--detector needs a mask head of one class for all boxes, as `anything` has; this one has "
            f"{len(checkpoint.categories)}"
        )


def check_out(out: Path, source: Mapping[str, str], replace: bool) -> None:
    """Raise UserError if `out` is a folder that holds anything else than a bundle of this source.

    `replace` allows a bundle of another checkpoint, or with other changes of its network.
    """
    if out.is_file():
        raise UserError(f"{out} is a file: name a folder")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / MANIFEST).is_file():
        raise UserError(f"{out} is not empty and holds no bundle: name another folder")
    there = _source(out / MANIFEST)
    if replace or all(there.get(key) == source.get(key) for key in ("sha256", "changes")):
        return
    found = "another checkpoint" if there.get("sha256") != source.get("sha256") else "other changes (--set)"
    raise UserError(
        f"{out} holds a bundle of {found} ({there.get('checkpoint', 'unknown')}): "
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
    checkpoint: Checkpoint,
    draft: Path,
    staged: Path,
    name: str,
    source: dict[str, str],
    detector: DetectorFile | None,
) -> Manifest:
    """Write the bundle into `draft`, and its graph with all intermediate results to `staged`."""
    if detector is not None:  # first, because it takes seconds to find out that it cannot be used
        write_detector(detector.path, detector.settings, draft / DETECTOR)
    network = build_network(checkpoint.config, checkpoint.tensors)
    outputs, boxes = export_staged(coarse_pass(network), staged), box_pass(network)
    if boxes is not None:
        export_boxes(boxes, draft / BOXES)
        outputs = [*outputs, *FEATURES]
    prune(staged, draft / GRAPH, outputs)
    head = network.point_head
    manifest = Manifest(
        name=name,
        categories=checkpoint.categories,
        preprocessing=checkpoint.config.preprocessing,
        model=_PARTS[checkpoint.config.task](checkpoint),
        fine_channels=0 if head is None else head.fine_channels,
        opset=OPSET,
        files=_hashes(draft, head, [GRAPH] if boxes is None else [GRAPH, BOXES]),
        source=source,
    )
    if detector is not None:
        manifest = _with_detector(manifest, detector, draft)
    _write_manifest(manifest, draft)
    return manifest


def _with_detector(manifest: Manifest, detector: DetectorFile, draft: Path) -> Manifest:
    """Return the manifest of a bundle whose boxes are found by a detector."""
    assert manifest.model.task == "instance"
    settings, (own,) = detector.settings, manifest.categories
    model = dataclasses.replace(
        manifest.model,
        detector=DetectorPart(settings=settings, mask_class=own.name),
        score_threshold=settings.score_threshold,
        max_detections=settings.max_detections,
    )
    source = {"detector": detector.path.name, "detector sha256": sha256(detector.path)}
    return dataclasses.replace(
        manifest,
        categories=detector_categories(settings, own.name),
        model=model,
        files=manifest.files | {DETECTOR: sha256(draft / DETECTOR)},
        source=manifest.source | source,
    )


def _with_goldens(manifest: Manifest, predictor: Predictor) -> Manifest:
    """Return the manifest with what the bundle sees in the golden picture."""
    model = dataclasses.replace(manifest.model, golden=golden(manifest.task, predictor))
    if model.task == "instance" and model.detector is not None:
        part = dataclasses.replace(model.detector, golden=golden("detector", predictor).best)
        model = dataclasses.replace(model, detector=part)
    return dataclasses.replace(manifest, model=model)


def _compare(
    checkpoint: Checkpoint, draft: Path, staged: Path, full_size: bool, detector: DetectorFile | None
) -> Report:
    """Return the report on the files of a bundle, against a network that no export has touched."""
    opened = open_bundle(draft, Execution())
    coarse = coarse_pass(build_network(checkpoint.config, checkpoint.tensors))
    run = GraphPass(open_session(staged, Execution()))
    batches, found = trials(checkpoint.config.preprocessing, full_size), Measurements()
    if BOXES in opened.manifest.files:
        parity.measure_boxes(coarse.network, run, open_graph(draft / BOXES, Execution()), batches, found)
    if detector is not None:
        batches.append(_detected(opened, draft, detector, found))
    return parity.check(coarse, run, opened.predictor.run, opened.predictor.head, batches, found)


def _detected(opened: Bundle, draft: Path, source: DetectorFile, found: Measurements) -> dict[str, Tensor]:
    """Compare the detector. Return the inputs of a coarse pass over pictures with the boxes that it finds in them."""
    predictor = cast(InstancePredictor, opened.predictor)
    detector = open_detector(draft / DETECTOR, source.settings, Execution())
    options = InstanceOptions(score=0.0, max_instances=_DETECTED)
    images = [predictor.prepare(picture(*_PICTURE, seed), options) for seed in range(3)]
    compare_detectors(plain_detector(source.path, detector), detector, [p.pixels for p in images], found)
    return predictor.inputs(predictor.detect(images))


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


def _hashes(draft: Path, head: PointHead | None, graphs: Sequence[str]) -> dict[str, str]:
    """Put the point head beside the graphs, and return the hashes of all."""
    names = list(graphs)
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
