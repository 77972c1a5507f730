"""Is the exported graph the network? Both see the same pictures, and are compared stage by stage.

In each stage the network is given what the graph's previous stage returned (export/stages.py), so differences are
rounding alone and tolerances are tight. What thresholds and ranks choose is another matter: rounding decides between
two proposals that are as good, and either choice is right. So choices are compared by the share that graph and network
have in common over all pictures. It is reported, and fails an export only when it is far off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from export.measurements import Measurements, Report
from export.stages import STAGES, box_stages
from export.trials import no_regions
from model.networks.build import CoarsePass
from model.networks.eager import eager_run
from model.pointrend.point_head import PointHead
from model.predict.coarse import FEATURES
from model.predict.predictor import Run
from model.progress import progress


@torch.inference_mode()
def check(
    coarse: CoarsePass,
    staged: Run,
    shipped: Run,
    head: PointHead | None,
    batches: Sequence[Mapping[str, Tensor]],
    found: Measurements | None = None,
) -> Report:
    """Compare what was exported with the coarse pass of its network. Return the report of `Measurements`.

    `staged` runs the graph with its intermediate results. `shipped` runs the graph of the bundle, which must return
    exactly the same outputs; `head` is the point head as the bundle has it, which must be exactly the network's.
    `batches` are the inputs of the passes that are compared (see export/trials.py). `found` are measurements that were
    made already and belong into the report.
    """
    network, pixels, problems = coarse.network, coarse.network.config.preprocessing, []
    found = measure(coarse, staged, batches, found)
    if not _identical(shipped(batches[0]), staged(batches[0])):
        problems.append("the shipped graph does not return what the compared one returns")
    if not _identical(_weights(network.point_head), _weights(head)):
        problems.append("the point head's file is not the network's point head")
    rows, expected = (_rows(run(no_regions(pixels))) for run in (shipped, eager_run(coarse)))
    if rows != expected:
        problems.append(f"no regions: the graph's outputs have {rows} rows, the network's {expected}")
    return found.report(problems)


@torch.inference_mode()
def measure(
    coarse: CoarsePass,
    staged: Run,
    batches: Sequence[Mapping[str, Tensor]],
    found: Measurements | None = None,
) -> Measurements:
    """Measure how far each stage of a graph is from its network over some passes; `found` are added to, if given."""
    network, found = coarse.network, found or Measurements()
    for given in progress(batches, "parity", unit="batch"):
        STAGES[network.config.task](network, given, staged(given), found)
    return found


@torch.inference_mode()
def measure_boxes(
    network: Any, staged: Run, boxes: Run, batches: Sequence[Mapping[str, Tensor]], found: Measurements
) -> None:
    """Measure how far the graph of a box pass is from its network, on the features that the coarse graph gives."""
    for given in batches:
        features = staged(given)
        for index in range(len(given["image"])):
            own = given["prompt_batch"] == index
            inputs = {name: features[name][index : index + 1] for name in FEATURES}
            inputs |= {name: given[name][own] for name in ("prompts", "prompt_class")}
            box_stages(network, inputs, boxes(inputs), found)


def _identical(some: Mapping[str, Tensor], among: Mapping[str, Tensor]) -> bool:
    """Return whether every tensor is among the others, with equal values."""
    return all(name in among and torch.equal(value, among[name]) for name, value in some.items())


def _weights(head: PointHead | None) -> dict[str, Tensor]:
    return {} if head is None else head.state_dict()


def _rows(outputs: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the outputs' lengths alone: of empty tensors, ONNX Runtime may give the other sides other lengths."""
    return {name: len(value) for name, value in outputs.items()}
