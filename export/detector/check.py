"""Checks of a detector's ONNX file before it goes into a bundle: what it is made of, its names, shapes and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch

from export.detector.pixels import place
from export.detector.run import IMAGE_TYPES, SIZE_TYPES, OnnxDetector, output_names
from export.detector.settings import DetectorSettings
from export.errors import BundleError
from export.execution import Execution
from export.external import check_self_contained
from export.session import GraphPass, open_pass
from export.trials import blank_image, picture
from model.errors import UserError
from model.predict.predictor import by_channel

# Operators of these domains are part of ONNX Runtime; libraries of others are never loaded.
DOMAINS = frozenset(("", "ai.onnx", "ai.onnx.ml", "com.microsoft"))
MOST_BYTES = 2_000_000_000  # that one ONNX file may have
MOST_OUTPUT = 100_000  # detections of an image
_PICTURE = 160, 240


def write_detector(source: Path, settings: DetectorSettings, target: Path) -> None:
    """Write a detector's graph to `target` as one file, once it has passed all checks. Raises UserError, one line.

    A graph that is one file already is copied as it is. One that keeps its weights in other files gets them.
    """
    if not source.is_file():
        raise UserError(f"{source} is no file: --detector takes an ONNX graph")
    content = source.read_bytes()
    try:
        model = onnx.load(source, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, of which there are several
        raise UserError(f"{source} is no ONNX graph") from error
    check_domains(source, model)
    if _has_external(source):
        try:
            model = onnx.load(source)
        except Exception as error:  # onnx's own, OSError
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{source} keeps weights in other files, which cannot be read: {reason}"
            ) from error
        if model.ByteSize() > MOST_BYTES:
            raise UserError(f"{source} and its weights have more than {MOST_BYTES} bytes together")
        content = model.SerializeToString()
    target.write_bytes(content)
    check_detector(target, settings, str(source))


def check_domains(source: Path, model: onnx.ModelProto) -> None:
    """Raise UserError if a graph needs operators of a domain that ONNX Runtime does not bring."""
    if strange := sorted({entry.domain for entry in model.opset_import} - DOMAINS):
        used = {node.domain for node in _nodes(model.graph)} | {
            n.domain for f in model.functions for n in f.node
        }
        own = {function.domain for function in model.functions}
        if missing := sorted((set(strange) & used) - own):
            raise UserError(
                f"{source} needs operators of {', '.join(map(repr, missing))}, which ONNX Runtime does not have: "
                "export the detector with ONNX's own operators alone"
            )


def check_detector(path: Path, settings: DetectorSettings, name: str) -> OnnxDetector:
    """Return the detector, once its names, types and shapes fit the settings, and pictures give usable results.

    Raises UserError, one line that names the graph `name`.
    """
    try:
        every = open_pass(path, Execution())
    except BundleError as error:
        raise UserError(str(error).replace(str(path), name)) from error
    _check_inputs(every, settings, name)
    wanted = output_names(settings)
    _check_names("output", wanted, every.outputs, name)
    try:
        detector = OnnxDetector(open_pass(path, Execution(), wanted), settings)
        _check_results(detector)
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    return detector


def _check_inputs(run: GraphPass, settings: DetectorSettings, name: str) -> None:
    given = settings.input
    wanted = [given.image, *([] if given.size is None else [given.size])]
    _check_names("input", wanted, list(run.inputs), name)
    if further := sorted(set(run.inputs) - set(wanted)):
        raise UserError(
            f"{name} has an input that the settings do not name: {', '.join(further)}; `input` has `image`, and `size` "
            "for the size that boxes are scaled to"
        )
    expected: Sequence[tuple[str, Sequence[int], Mapping[str, torch.dtype]]] = [
        (given.image, (3, given.height, given.width), IMAGE_TYPES),
        *([] if given.size is None else [(given.size, (2,), SIZE_TYPES)]),
    ]
    for input_name, sides, types in expected:
        kind, shape = run.inputs[input_name]
        if kind not in types:
            raise UserError(f"{name}: input {input_name!r} is a {kind}, and {', '.join(types)} are possible")
        fits = len(shape) == 1 + len(sides) and all(
            not isinstance(own, int) or own == side for own, side in zip(shape[1:], sides, strict=True)
        )
        if not fits or (isinstance(shape[0], int) and shape[0] != 1):
            shown = ", ".join(map(str, sides))
            raise UserError(
                f"{name}: input {input_name!r} has the shape {list(shape)}, and the settings ask for "
                f"[1 or dynamic, {shown}]"
            )


def _check_names(kind: str, wanted: Sequence[str], there: Sequence[str], name: str) -> None:
    if missing := [each for each in wanted if each not in there]:
        raise UserError(f"{name} has no {kind} {missing[0]!r}; it has {', '.join(there)}")


def _check_results(detector: OnnxDetector) -> None:
    """Raise UserError unless pictures give detections that are numbers, with labels and scores that may be."""
    settings = detector.settings
    height, width = _PICTURE
    for image in (picture(height, width, 0), blank_image(width, height)):
        pixels = by_channel(image)
        try:
            found = detector.raw([pixels], [place(pixels.shape[1], pixels.shape[2], settings.input)])
        except UserError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise UserError(f"it cannot be run on a picture: {str(error).splitlines()[0]}") from error
        if found.scores.shape[1] > MOST_OUTPUT:
            raise UserError(
                f"it gives {found.scores.shape[1]} detections of an image; {MOST_OUTPUT} are possible"
            )
        scores, labels = found.scores[0], found.labels[0]
        if not scores.isfinite().all() or not found.boxes.isfinite().all():
            raise UserError("it gives boxes or scores that are no numbers for a picture")
        if len(scores) and (float(scores.min()) < -1 or float(scores.max()) > 1):
            raise UserError(
                f"its scores are between {float(scores.min()):.3g} and {float(scores.max()):.3g}, and not from 0 to 1: "
                "are they logits?"
            )
        if len(labels) and int(labels.max()) >= len(settings.classes):
            raise UserError(
                f"it gives the label {int(labels.max())}, and classes has {len(settings.classes)} names"
            )
    if detector.batched:
        _check_batch(detector)


def _check_batch(detector: OnnxDetector) -> None:
    height, width = _PICTURE
    images = [by_channel(picture(height, width, seed)) for seed in range(2)]
    try:
        detector(images)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise UserError(
            "its number of images is dynamic, but it cannot be run on two: " + str(error).splitlines()[0]
        ) from error


def _has_external(source: Path) -> bool:
    try:
        check_self_contained(source)
    except BundleError:
        return True
    return False


def _nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the nodes of a graph and of the graphs inside of them."""
    found = []
    for node in graph.node:
        found.append(node)
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                found += _nodes(inner)
    return found
