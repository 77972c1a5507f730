"""Start a network from the weights of another checkpoint, also of one with other classes."""

from __future__ import annotations

from collections.abc import Sequence, Set
from pathlib import Path

from model.checkpoints.checkpoint import REFERENCE_SUFFIXES, Checkpoint, load
from model.checkpoints.class_axes import Pairs, class_axes, copy_classes, count_classes
from model.checkpoints.detectron2.arrays import read_arrays
from model.checkpoints.detectron2.convert import reference_tensors
from model.checkpoints.errors import CheckpointError
from model.checkpoints.shapes import fitting, listed
from model.config.categories import Category, numbered
from model.config.network import NetworkConfig
from model.errors import UserError
from model.networks.build import Network


def from_checkpoint(network: Network, path: Path, categories: tuple[Category, ...] | None = None) -> str:
    """Copy from a checkpoint what fits the network; return one line that says what was copied and what was not.

    The checkpoint is a native one or the reference's (.pkl, .pth). Tensors of the same name and shape are copied.
    Of tensors with an axis that counts classes (`class_axes`), such as predictors and the layers of the point head
    that see the coarse prediction, the entries of no class are copied, and those of the classes that both have
    (`_common_classes`); `categories` are the network's in order. All else stays as the network initialised it.
    Raises CheckpointError if the file is no checkpoint, and UserError if nothing fits.
    """
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", *REFERENCE_SUFFIXES):
        raise CheckpointError(f"{path.name} is no checkpoint: expected .safetensors, .pkl or .pth")
    names, remarks = None, ""
    if suffix == ".safetensors":
        checkpoint = load(path)
        given, names = checkpoint.tensors, checkpoint.categories
        remarks = _other_anchors(network.config, checkpoint.config)
        remarks += _other_threshold(network.config, checkpoint)
    else:
        given = reference_tensors(read_arrays(path))
    own, axes = network.state_dict(), class_axes(network)
    counts = count_classes(given, axes), network.config.num_classes
    pairs = _common_classes(names, categories, counts)
    copied = {name: value for name, value in fitting(given, own).items() if name not in axes}
    for name in axes.keys() & given.keys():
        value = copy_classes(given[name], own[name], axes[name], counts, pairs)
        if value is not None:
            copied[name] = value
    if not copied:
        raise UserError(f"nothing in {path.name} fits this network")
    network.load_state_dict(own | copied)
    labels = [categories[ours].name for _, ours in pairs] if categories else []
    partly = axes.keys() & copied.keys() if len(pairs) < counts[1] else frozenset[str]()
    return f"started {_summary(list(own), copied.keys(), partly, labels, path)}{remarks}"


def _summary(
    names: Sequence[str], copied: Set[str], partly: Set[str], classes: Sequence[str], path: Path
) -> str:
    """Return how many of the network's tensors were copied, which of them in part, and which begin anew."""
    parts = [name for name in names if name in partly]
    initial = [name for name in names if name not in copied]
    text = f"{len(copied) - len(parts)} of {len(names)} tensors from {path.name}"
    if parts:
        plural = "class" if len(classes) == 1 else "classes"
        known = f"with the {plural} {listed(classes)}" if classes else "without any class"
        text += f"; {len(parts)} in part, {known}: {listed(parts)}"
    return text + (f"; {len(initial)} begin anew: {listed(initial)}" if initial else "")


def _common_classes(
    theirs: tuple[Category, ...] | None, ours: tuple[Category, ...] | None, counts: tuple[int, int]
) -> Pairs:
    """Return the classes that a checkpoint and a network have in common, as pairs of indices.

    Classes are the same if they have the same name. If none has, or if one of the two has no names but numbers, and
    there are as many classes in the checkpoint as in the network, then they are the same in their order.
    """
    if theirs and ours and theirs != numbered(len(theirs)) and ours != numbered(len(ours)):
        places = {category.name: i for i, category in enumerate(theirs)}
        named = [(places[category.name], i) for i, category in enumerate(ours) if category.name in places]
        if named:
            return named
    return [(i, i) for i in range(counts[1])] if counts[0] == counts[1] else []


def _other_anchors(own: NetworkConfig, given: NetworkConfig) -> str:
    """Return a remark if two detectors' anchors differ, whose predictors nevertheless fit."""
    if own.task != "instance" or given.task != "instance":
        return ""
    theirs, ours = (
        {"anchor_sizes": c.rpn.anchor_sizes, "aspect_ratios": c.rpn.aspect_ratios} for c in (given, own)
    )
    differ = ", ".join(f"{name} {value}" for name, value in theirs.items() if value != ours[name])
    return f" (its proposals, which have to adapt, were trained with {differ})" if differ else ""


def _other_threshold(own: NetworkConfig, given: Checkpoint) -> str:
    """Return a remark if the scores that are taken over were calibrated, for another threshold than this network's."""
    config = given.config
    if own.task != "instance" or config.task != "instance" or "calibration" not in given.notes:
        return ""
    theirs, ours = config.box.score_threshold, own.box.score_threshold
    if theirs == ours or config.num_classes != own.num_classes:
        return ""
    return f" (its scores are calibrated: --set network.box.score_threshold={theirs} finds the same boxes, not {ours})"
