"""The coarse passes stage by stage: the intermediate results of a graph, and what the network makes of them.

A stage of the network is given what the *graph's* previous stage returned, so that rounding in one stage cannot change
the choices of the next. What is chosen (proposals, detections, labels) is compared by the share that both sides chose.

A third task adds a function like `instance_stages` and a line to the table `STAGES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from export.measurements import Measurements
from model.networks import box_head, boxes
from model.networks.build import CoarsePass
from model.networks.coarse_pass import classified, masked
from model.networks.mask_heads import expected_precision, own_class
from model.networks.mask_rcnn import MaskRCNN
from model.networks.rpn import LOWEST, Proposals
from model.networks.semantic import SemanticNet
from model.predict.coarse import FEATURES

Tensors = Mapping[str, Tensor]
_LEVEL_EDGE = 1e-5  # boxes this close to the edge between two pyramid levels may be read from either


class StagedPass(nn.Module):
    """A coarse pass that returns its outputs and then its intermediate results, as `named` orders them."""

    def __init__(self, coarse: CoarsePass) -> None:
        super().__init__()
        self.coarse = coarse

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Take the tensors that `coarse.inputs` names, in this order."""
        return tuple(named(self.coarse.steps(*inputs)).values())


def public_names(steps: Any) -> list[str]:
    """Return the names of the outputs that a shipped graph has."""
    return [name for name, value in steps.outputs._asdict().items() if value is not None]


def named(steps: Any) -> dict[str, Tensor]:
    """Return the outputs of a coarse pass, then its intermediate results, by name: "boxes" … "pyramid.0" …"""
    found = {name: getattr(steps.outputs, name) for name in public_names(steps)}
    for field, value in steps._asdict().items():
        if field == "outputs":
            continue
        if torch.is_tensor(value):
            members = {field: value}
        elif hasattr(value, "_asdict"):
            members = {f"{field}.{name}": part for name, part in value._asdict().items()}
        else:
            members = {f"{field}.{i}": part for i, part in enumerate(value)}
        # A graph cannot give one tensor two names.
        found |= {
            name: part for name, part in members.items() if not any(part is known for known in found.values())
        }
    return found


def instance_stages(network: MaskRCNN, given: Tensors, found: Tensors, into: Measurements) -> None:
    """Compare each stage of a Mask R-CNN; `given` are the inputs, `found` the outputs of all stages of the graph."""
    pyramid = _levels(found, "pyramid")
    into.compare_all("pyramid", network.backbone(given["image"]), pyramid)
    _region_proposals(network, pyramid, given, found, into)
    _detections(network, pyramid, given, found, into)
    _given_boxes(network, pyramid, given, found, into)
    _masks(network, pyramid, found, into)


def semantic_stages(network: SemanticNet, given: Tensors, found: Tensors, into: Measurements) -> None:
    """Compare each stage of a semantic network, as `instance_stages` does."""
    features = _levels(found, "features")
    into.compare_all("features", network.backbone(given["image"]), features)
    coarse = network.head(features)
    into.compare("coarse logits", coarse, found["coarse"])
    equal = coarse.argmax(1) == found["coarse"].argmax(1)
    into.choices("labels", equal.numel(), int(equal.sum()))
    if network.point_head is not None:
        into.compare("fine map", network.point_head.project_fine(features[0]), found["fine"])


def box_stages(network: MaskRCNN, given: Tensors, found: Tensors, into: Measurements) -> None:
    """Compare a box pass; `given` are its inputs, `found` the outputs of its graph."""
    wanted, prompts = given["prompt_class"], given["prompts"]
    free, classes = wanted < 0, found["classes"]
    into.compare("kept boxes' classes", wanted[~free].float(), classes[~free].float())
    pyramid, batch = [given[name] for name in FEATURES], torch.zeros_like(wanted)
    expected = classified(network, pyramid, prompts, batch, classes)
    # Of two classes that are as likely, either may be chosen; so their scores are compared, not the classes.
    best = expected.logits.softmax(-1)[:, :-1].amax(1)
    into.compare("kept boxes' choice", best[free], expected.scores[free])
    scores, coarse = masked(network, pyramid, prompts, batch, classes, expected.scores)
    clear = ~_between_levels(prompts)
    into.compare("kept boxes' scores", scores[clear], found["scores"][clear])
    into.compare("kept boxes' masks", coarse[clear], found["coarse"][clear])


STAGES: Mapping[str, Callable[[Any, Tensors, Tensors, Measurements], None]] = {
    "instance": instance_stages,
    "semantic": semantic_stages,
}


def _region_proposals(
    network: MaskRCNN, pyramid: list[Tensor], given: Tensors, found: Tensors, into: Measurements
) -> None:
    """Compare what the RPN predicts and which proposals are chosen.

    Each proposal must be one of the decoded anchors, and most must be those that the network chooses.
    """
    logits, deltas, anchors = (_levels(found, part) for part in ("objectness", "deltas", "anchors"))
    expected = network.rpn(pyramid)
    into.compare_all("objectness", expected[0], logits)
    into.compare_all("anchor deltas", expected[1], deltas)
    into.compare_all("anchors", expected[2], anchors)
    decoded = [boxes.decode(d, a, boxes.RPN_WEIGHTS) for d, a in zip(deltas, expected[2], strict=True)]
    candidates = boxes.clip(torch.cat(decoded, 1), given["size"])
    proposals = _proposals(found)
    real = proposals.logits > LOWEST
    for image, chosen in enumerate(real):
        own = proposals.boxes[image, chosen]
        into.compare("proposals", _nearest(own, candidates[image]), own)
    wanted = network.choose_proposals(logits, deltas, anchors, given["size"])
    filled = wanted.logits > LOWEST
    into.boxes(
        "proposals",
        (wanted.boxes[filled], filled.nonzero()[:, 0]),
        (proposals.boxes[real], real.nonzero()[:, 0]),
    )


def _detections(
    network: MaskRCNN, pyramid: list[Tensor], given: Tensors, found: Tensors, into: Measurements
) -> None:
    """Compare the box head on the graph's proposals, and which detections are chosen.

    Each detection must be one of the decoded boxes, with its score.
    """
    proposals = _proposals(found)
    clear = (proposals.logits > LOWEST) & ~_between_levels(proposals.boxes)
    expected = network.classify(pyramid, proposals)
    logits, deltas = found["class_logits"], found["box_deltas"]
    into.compare("class logits", expected[0][clear], logits[clear])
    into.compare("box deltas", expected[1][clear], deltas[clear])

    chance = logits.softmax(-1)[..., :-1]
    decoded = boxes.decode(deltas, proposals.boxes[:, :, None], boxes.BOX_WEIGHTS)
    decoded = boxes.clip(decoded, given["size"])
    count = len(found["boxes"]) - len(given["prompts"])
    refined, batch, classes = (found[name][:count] for name in ("boxes", "batch", "classes"))
    refinements, scores = network.config.box.refinements, _box_scores(found)[:count]
    places = found["chosen_boxes"] if refinements else refined
    # Both stages are listed even where nothing is found.
    into.compare("detected boxes", places[:0], places[:0])
    into.compare("detected scores", scores[:0], scores[:0])
    for image, category in {(int(b), int(k)) for b, k in zip(batch, classes, strict=True)}:
        mine = (batch == image) & (classes == category)
        own = torch.cat([places[mine], scores[mine, None]], 1)
        candidates = torch.cat([decoded[image, :, category], chance[image, :, category, None]], 1)
        nearest = _nearest(own, candidates)
        into.compare("detected boxes", nearest[:, :4], own[:, :4])
        into.compare("detected scores", nearest[:, 4], own[:, 4])
    wanted = box_head.select(logits, deltas, proposals, given["size"], network.config.box)
    kinds = chance.shape[-1]
    into.boxes(
        "detections",
        (wanted.boxes, wanted.batch * kinds + wanted.classes),
        (places, batch * kinds + classes),
    )
    if refinements:
        sure = torch.ones_like(batch, dtype=torch.bool)
        for _ in range(refinements):
            sure &= ~_between_levels(places)
            places = box_head.refine(network.box_head, pyramid, places, classes, batch, given["size"])
        into.compare("refined boxes", places[sure], refined[sure])


def _given_boxes(
    network: MaskRCNN, pyramid: list[Tensor], given: Tensors, found: Tensors, into: Measurements
) -> None:
    """Compare the given boxes, which pass through, and the box head's scores of the given or the best classes."""
    count = len(found["boxes"]) - len(given["prompts"])
    places, batch, classes = (found[name][count:] for name in ("boxes", "batch", "classes"))
    into.compare("given boxes", given["prompts"], places)
    into.compare("given boxes", given["prompt_batch"], batch)
    free = given["prompt_class"] < 0
    into.compare("given boxes", given["prompt_class"][~free], classes[~free])
    logits, _ = network.box_head(pyramid, given["prompts"], given["prompt_batch"])
    clear = ~_between_levels(given["prompts"])
    into.compare("given boxes' logits", logits[clear], found["prompt_logits"][clear])
    chance = found["prompt_logits"].softmax(-1)[:, :-1]
    own = chance.gather(1, classes[:, None])[:, 0]
    into.compare("given boxes' scores", own, _box_scores(found)[count:])
    # Of two classes that are as likely, either may be chosen; so their scores are compared, not the classes.
    into.compare("given boxes' scores", chance.amax(1)[free], own[free])


def _masks(network: MaskRCNN, pyramid: list[Tensor], found: Tensors, into: Measurements) -> None:
    """Compare the mask head on the graph's boxes and classes, and what is projected for the point head."""
    places, classes = found["boxes"], found["classes"]
    masks = network.mask_head(pyramid, places, found["batch"])
    own, point = own_class(masks, classes), network.point_head
    coarse = own.flatten(1)[..., None] if point is None else point.project_coarse(masks, classes)
    clear = ~_between_levels(places)
    into.compare("coarse masks", coarse[clear], found["coarse"][clear])
    if network.config.mask_score:
        expected = found["box_scores"] * expected_precision(own)
        into.compare("scores", expected[clear], found["scores"][clear])
    if point is not None:
        into.compare("fine map", point.project_fine(pyramid[0]), found["fine"])


def _proposals(found: Tensors) -> Proposals:
    return Proposals(found["proposals.boxes"], found["proposals.logits"])


def _box_scores(found: Tensors) -> Tensor:
    """Return the scores before masks lower them; where masks do not, a graph has one tensor for both."""
    return found.get("box_scores", found["scores"])


def _levels(found: Tensors, name: str) -> list[Tensor]:
    """Return the tensors "name.0", "name.1", … in order."""
    return [found[key] for key in sorted(k for k in found if k.rpartition(".")[0] == name)]


def _nearest(rows: Tensor, candidates: Tensor) -> Tensor:
    """Return for each row [N, D] the candidate [M, D] that is nearest to it."""
    parts = [torch.cdist(part, candidates, p=float("inf")).argmin(1) for part in torch.split(rows, 64)]
    return candidates[torch.cat(parts)] if len(rows) else rows


def _between_levels(places: Tensor) -> Tensor:
    """Return which boxes [..., 4] rounding may assign to either of two pyramid levels (see networks/roi.py)."""
    level = torch.log2(boxes.area(places.double()).clamp(min=0).sqrt() / 224 + 1e-8)
    return (level - level.round()).abs() < _LEVEL_EDGE
