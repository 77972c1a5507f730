"""From a request's parameters to the options of its model's task, with one parser for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from model.config.categories import Category
from model.predict.instance import InstanceOptions, parse_resolution
from model.predict.label_map import LabelMapOptions, parse_height
from service.engine.errors import ParameterError
from service.http.query.boxes import index_of, indices, parse_boxes
from service.http.query.parameters import SegmentQuery
from service.output.formats import FORMATS, names

T = TypeVar("T")


def parse_options(query: SegmentQuery, task: str, categories: Sequence[Category]) -> Any:
    """Return the options that a model of this task and with these categories is asked for.

    Raises ParameterError that says what such a model allows.
    """
    if task not in FORMATS[query.format].tasks:
        allowed = ", ".join(names(task))
        raise ParameterError("format", f"of {task} models must be one of {allowed}, got {query.format!r}")
    if not FORMATS[query.format].needs_pixels:
        for name in ("instance", "crop"):
            _check_default(query, name, "is for format cutout")
    return _PARSERS[task](query, categories)


def _check_default(query: SegmentQuery, name: str, why: str) -> None:
    """Raise ParameterError if a parameter is given where it means nothing."""
    if getattr(query, name) != SegmentQuery.model_fields[name].default:
        raise ParameterError(name, why)


def _instance_options(query: SegmentQuery, categories: Sequence[Category]) -> InstanceOptions:
    if query.explain and not FORMATS[query.format].enveloped:
        allowed = ", ".join(name for name, format in FORMATS.items() if format.enveloped)
        raise ParameterError(
            "explain", f"has a place only in answers of format {allowed}, not {query.format}"
        )
    return InstanceOptions(
        resolution=_parsed("resolution", parse_resolution, query.resolution),
        points=query.points,
        score=query.score,
        max_instances=query.max_instances,
        classes=_classes(query.classes, categories),
        prompts=None if query.boxes is None else parse_boxes(query.boxes, categories),
        explain=query.explain,
        keep=query.keep > 0,
    )


def _label_map_options(query: SegmentQuery, categories: Sequence[Category]) -> LabelMapOptions:
    for name in ("boxes", "score", "max_instances", "explain"):
        _check_default(query, name, "is for masks of instances; this is a semantic model")
    resolution = _parsed("resolution", parse_height, query.resolution)
    return LabelMapOptions(resolution, query.points, _classes(query.classes, categories))


_PARSERS: Mapping[str, Callable[[SegmentQuery, Sequence[Category]], Any]] = {
    "instance": _instance_options,
    "semantic": _label_map_options,
}


def _parsed(name: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise ParameterError(name, str(error).removeprefix(f"{name} ")) from error


def _classes(text: str | None, categories: Sequence[Category]) -> frozenset[int] | None:
    """Return the indices of the named categories; None means all."""
    if text is None:
        return None
    known = indices(categories)
    return frozenset(index_of(name.strip(), known, "classes") for name in text.split(","))
