"""The reference implementation's (detectron2's) YAML configuration as a `ModelConfig`.

Every key is one of three: it configures our network, it must have a value that our network has built in, or
it cannot change a prediction. Anything else is refused, so that no setting is dropped silently.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from model import reference_keys as keys
from model.config import FPN, RPN, BoxHead, ConvMask, ModelConfig, PointRendMask, Preprocessing, ResNet


class ReferenceConfigError(ValueError):
    """A configuration that cannot be read or that asks for something our network does not do."""


class _Loader(yaml.SafeLoader):
    """Safe YAML; the reference's dumps may tag a sequence as a Python tuple, which is read as a list."""

    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        return self.construct_sequence(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.sequence)


def config_from_yaml(path: str | Path) -> ModelConfig:
    """The network that the reference builds from this file; keys left out have the reference's defaults.

    Raises ReferenceConfigError that lists everything our network cannot do, by name and value.
    """
    path = Path(path)
    given = _read(path)
    if given.get("MODEL.META_ARCHITECTURE") == "SemanticSegmentor":
        raise ReferenceConfigError(f"{path.name}: not supported yet: semantic (MODEL.META_ARCHITECTURE)")
    built_in = keys.BUILT_IN | keys.POINTREND_BUILT_IN | keys.CONV_BUILT_IN
    values = {key: default for key, (default, _) in built_in.items()} | keys.USED
    problems = [
        f"{key} is unknown"
        for key in given
        if key not in values and not any(fnmatchcase(key, pattern) for pattern in keys.IGNORED)
    ]
    values |= {key: _decoded(value) for key, value in given.items() if key in values}
    problems += [
        f"{key} = {values[key]!r} is not usable" for key in keys.USED if not _usable(key, values[key])
    ]
    problems += _conflicts(values)
    if problems:
        raise ReferenceConfigError(f"{path.name} cannot be used: " + "; ".join(problems))
    return _config(values)


def _read(path: Path) -> dict[str, Any]:
    """Dotted keys → values as they stand in the file."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ReferenceConfigError(f"{path.name} could not be read: {error}") from error
    if not isinstance(content, dict):
        raise ReferenceConfigError(f"{path.name} is not a configuration: it holds no keys")
    if "_BASE_" in content:
        raise ReferenceConfigError(
            f"{path.name} builds on another file (_BASE_: {content['_BASE_']}): give the full config.yaml "
            "that the reference writes into its output folder"
        )
    return dict(_flat(content))


def _flat(section: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _decoded(value: Any) -> Any:
    """Sequences as tuples; text that spells a Python literal, "(10.0, 5.0)", as the reference reads it."""
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    return tuple(_decoded(v) for v in value) if isinstance(value, (list, tuple)) else value


def _usable(key: str, value: Any) -> bool:
    """Whether a key that configures has the type of its default; sizes are at least 1, thresholds 0 to 1."""
    if key in keys.CHOICES:
        return value in keys.CHOICES[key]
    match keys.USED[key]:
        case bool() | str() as default:
            return type(value) is type(default)
        case int():
            return type(value) is int and value >= (0 if key in keys.MAY_BE_ZERO else 1)
        case float():
            return _is_number(value) and 0 <= value <= 1
    if key.startswith("MODEL.ANCHOR_GENERATOR."):
        return True  # judged by level, in _conflicts
    if not (isinstance(value, tuple) and len(value) == 3 and all(map(_is_number, value))):
        return False
    return key != keys.STD or min(value) > 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _per_level(value: Any) -> tuple[tuple[float, ...], ...]:
    """One tuple of numbers for each of P2–P6, given for each or once for all; () if it is anything else."""
    rows = value if isinstance(value, tuple) and all(isinstance(row, tuple) for row in value) else (value,)
    rows = rows * 5 if len(rows) == 1 else rows
    right = len(rows) == 5 and all(
        isinstance(row, tuple) and row and all(map(_is_number, row)) for row in rows
    )
    return rows if right else ()


def _conflicts(values: Mapping[str, Any]) -> Iterator[str]:
    """Values that our network has not built in, and values that contradict each other."""
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
    for key, (_, admitted) in built_in.items():
        if values[key] not in admitted:
            yield f"{key} = {values[key]!r} is not supported, only {' or '.join(map(repr, admitted))}"
    sizes, ratios = keys.RPN["anchor_sizes"][0], keys.RPN["aspect_ratios"][0]
    if {len(row) for row in _per_level(values[sizes])} != {1}:
        yield f"{sizes} = {values[sizes]!r} is not one size for each level"
    if len(set(_per_level(values[ratios]))) != 1:
        yield f"{ratios} = {values[ratios]!r} is not the same list on every level"


def _config(values: Mapping[str, Any]) -> ModelConfig:
    def fields(table: keys.Fields) -> dict[str, Any]:
        return {field: values[key] for field, (key, _) in table.items()}

    resnet, rpn = ResNet(**fields(keys.RESNET)), RPN(**fields(keys.RPN))
    conv = (values[keys.ROI_HEADS], values[keys.MASK_HEAD]) == keys.CONV_HEADS
    return ModelConfig(
        backbone=replace(resnet, bottleneck=resnet.bottleneck * resnet.groups),
        num_classes=values[keys.CLASSES],
        fpn=FPN(**fields(keys.FPN)),
        rpn=replace(
            rpn,
            anchor_sizes=tuple(size for (size,) in _per_level(rpn.anchor_sizes)),
            aspect_ratios=_per_level(rpn.aspect_ratios)[0],
        ),
        box=BoxHead(**fields(keys.BOX)),
        mask=ConvMask(**fields(keys.CONV)) if conv else PointRendMask(**fields(keys.POINTREND)),
        preprocessing=Preprocessing(**fields(keys.PIXELS)),
    )
