"""What a training run says of its data: how many images there are, and what is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from model.data.coco import CocoDataset
from model.data.coco_records import NO_CROWDS
from model.data.instance_samples import InstanceTrainingSet
from model.data.label_maps import LabelMaps
from model.evaluation.instance import listed
from model.masks.palette import VOID
from model.progress import progress

_SHOWN = 8  # classes


def describe_instances(datasets: Sequence[CocoDataset], kept: InstanceTrainingSet) -> list[str]:
    """Return how many images and instances there are, of which classes; `kept` is what trains of them."""
    empty = sum(not record.annotations for record in kept.records)
    records = [record for dataset in datasets for record in dataset.records]
    left_out, without = len(records) - len(kept), sum(record.left_out for record in records)
    images = [
        f"{kept.num_masked} images with masks" + (f" ({empty} of them without instances)" if empty else ""),
        f"{len(kept) - kept.num_masked} with boxes only",
        *([f"{left_out} left out (no instance to train on)"] if left_out else []),
    ]
    instances = [a for record in kept.records for a in record.annotations]
    masked = sum(a.shape is not None for a in instances)
    counts = Counter(a.category for a in instances)
    classes = [f"{kept.categories[i].name} {count}" for i, count in sorted(counts.items())]
    more = f" and {len(classes) - _SHOWN} more classes" if len(classes) > _SHOWN else ""
    crowds = sum(record.num_crowds for record in records)
    kinds = {"crowds": crowds, "without an area": without - crowds}
    which = ", ".join(f"{kind} {count}" for kind, count in kinds.items() if count)
    gone = f"; left out: {which}" if which else ""
    lines = [
        f"data: {', '.join(images)}",
        f"instances: {masked} with masks, {len(instances) - masked} with boxes only: "
        f"{', '.join(classes[:_SHOWN])}{more}{gone}",
        *(f"warning: {remark}" for dataset in datasets for remark in dataset.remarks),
    ]
    if crowds > len(instances):
        lines.append(f"warning: most annotations are crowds, which do not train; {NO_CROWDS}")
    if not masked:
        lines.append("warning: not one instance has a mask, so the masks do not train")
    if absent := [c for i, c in enumerate(kept.categories) if not counts[i]]:
        lines.append(f"warning: not one instance of {listed(absent)}: the model cannot learn it")
    return lines


def describe_label_maps(data: LabelMaps) -> list[str]:
    """Return how many images there are, and what share of their pixels each class has. Reads every label map."""
    counts = np.zeros(256, np.int64)
    for index in progress(range(len(data.pairs)), "counting pixels", leave=False, delay=3):
        counts += np.bincount(data.read_labels(index).ravel(), minlength=256)
    total = max(1, int(counts.sum()))
    names = data.labelling.names
    shares = [f"{name} {counts[i] / total:.1%}" for i, name in enumerate(names)]
    absent = [name for i, name in enumerate(names) if not counts[i]]
    return [
        f"data: {len(data.pairs)} images with label maps",
        f"pixels: {', '.join(shares)}; ignored {counts[VOID] / total:.1%}",
        *([f"warning: not one pixel of {', '.join(absent)}: the model cannot learn it"] if absent else []),
    ]
