"""The keys of the reference's YAML for instance segmentation; see `config_from_yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from model.checkpoints.detectron2 import keys
from model.checkpoints.detectron2.yaml_file import foreign, is_number, settle
from model.config.instance import BoxHeadConfig, ConvHeadConfig, MaskRCNNConfig, PointRendConfig, RPNConfig
from model.config.parts import FPNConfig, Preprocessing

NAME = "GeneralizedRCNN"


def settled(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of all keys that count, and what is wrong with the file."""
    built_in = keys.BUILT_IN | keys.POINTREND_BUILT_IN | keys.CONV_BUILT_IN
    values, problems = settle(given, keys.USED, built_in, keys.IGNORED)
    return values, [*problems, *_conflicts(values)]


def _per_level(value: Any) -> tuple[tuple[float, ...], ...]:
    """Return a tuple of numbers for each of P2–P6, given for each or once for all; () if it is anything else."""
    rows = value if isinstance(value, tuple) and all(isinstance(row, tuple) for row in value) else (value,)
    rows = rows * 5 if len(rows) == 1 else rows
    complete = len(rows) == 5 and all(
        isinstance(row, tuple) and row and all(map(is_number, row)) for row in rows
    )
    return rows if complete else ()


def _conflicts(values: Mapping[str, Any]) -> Iterator[str]:
    """Name values that our network has not built in, and values that contradict each other."""
    heads = (values[keys.ROI_HEADS], values[keys.MASK_HEAD])
    built_in = dict(keys.BUILT_IN)
    if heads == keys.CONV_HEADS:
        built_in |= keys.CONV_BUILT_IN
        if values["MODEL.ROI_MASK_HEAD.NUM_CONV"] == 0:
            yield "MODEL.ROI_MASK_HEAD.NUM_CONV = 0 is not supported with MaskRCNNConvUpsampleHead"
    elif heads in keys.POINTREND_HEADS:
        built_in |= keys.POINTREND_BUILT_IN
        if values[keys.CLASSES] != values[keys.POINT_CLASSES]:
            head, box = values[keys.POINT_CLASSES], values[keys.CLASSES]
            yield f"{keys.POINT_CLASSES} = {head!r}, but {keys.CLASSES} = {box!r}"
    else:
        yield f"{keys.ROI_HEADS} = {heads[0]!r} with {keys.MASK_HEAD} = {heads[1]!r} is not supported"
    if heads == keys.FIRST_POINTREND_HEADS:
        del built_in["MODEL.ROI_MASK_HEAD.POOLER_TYPE"]
    yield from foreign(values, built_in)
    sizes, ratios = keys.RPN["anchor_sizes"][0], keys.RPN["aspect_ratios"][0]
    if {len(row) for row in _per_level(values[sizes])} != {1}:
        yield f"{sizes} = {values[sizes]!r} is not one size for each level"
    if len(set(_per_level(values[ratios]))) != 1:
        yield f"{ratios} = {values[ratios]!r} is not the same list on every level"


def config(values: Mapping[str, Any]) -> MaskRCNNConfig:
    """Return the network of values without faults."""

    def fields(table: keys.Fields) -> dict[str, Any]:
        return {field: values[key] for field, (key, _) in table.items()}

    rpn = RPNConfig(**fields(keys.RPN))
    conv = (values[keys.ROI_HEADS], values[keys.MASK_HEAD]) == keys.CONV_HEADS
    return MaskRCNNConfig(
        backbone=keys.resnet(values),
        num_classes=values[keys.CLASSES],
        fpn=FPNConfig(**fields(keys.FPN)),
        rpn=replace(
            rpn,
            anchor_sizes=tuple(size for (size,) in _per_level(rpn.anchor_sizes)),
            aspect_ratios=_per_level(rpn.aspect_ratios)[0],
        ),
        box=BoxHeadConfig(**fields(keys.BOX)),
        mask=ConvHeadConfig(**fields(keys.CONV)) if conv else PointRendConfig(**fields(keys.POINTREND)),
        preprocessing=Preprocessing(**fields(keys.PIXELS)),
    )
