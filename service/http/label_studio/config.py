"""Labelling configurations of Label Studio: which tag the masks belong to, and which label each category has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from model.config.categories import Category
from service.engine.errors import ParameterError
from service.http.query.echo import listed

MAX_CHARACTERS = 1 << 20
MAX_NAMES = 10_000  # of labels, and of categories that they stand for
NAME = "label_config"  # what messages call it
# Tags for masks, with the format whose regions belong to them.
_FORMATS: Mapping[str, str] = MappingProxyType(
    {"brushlabels": "label_studio", "polygonlabels": "label_studio_polygon"}
)
_RECTANGLES = "rectanglelabels"
# Attributes of such a tag that are parameters of a request.
_PARAMETERS: Mapping[str, str] = MappingProxyType(
    {
        "model": "model",
        "model_score_threshold": "score",
        "model_resolution": "resolution",
        "model_points": "points",
        "model_max_instances": "max_instances",
    }
)


@dataclass(frozen=True)
class LabelConfig:
    """What a configuration says about masks."""

    format: str
    control: str  # the name of the tag that they belong to
    image: str  # the name of the tag of the picture
    key: str  # of the picture's address among the data of a task
    # The labels of the tag, by their own names and those of the categories that they stand for, all folded.
    labels: Mapping[str, str]
    parameters: Mapping[str, str]
    rectangles: bool  # whether there is a tag to draw boxes with

    def label_of(self, name: str) -> str | None:
        """Return the label that stands for this name, whatever its case."""
        return self.labels.get(_folded(name))

    def known(self, categories: Sequence[Category]) -> dict[str, str]:
        """Return the label of each category that has one, by the category's name."""
        found = {category.name: self.label_of(category.name) for category in categories}
        return {name: label for name, label in found.items() if label is not None}

    def check(self, categories: Sequence[Category]) -> None:
        """Raise ParameterError if a model of these categories could never find anything for this configuration."""
        if not self.rectangles and not self.known(categories):
            raise _wrong(
                f"none of its labels ({listed(dict.fromkeys(self.labels.values()))}) is a category of the model: "
                f"{listed(category.name for category in categories)}"
            )


def read_config(text: str) -> LabelConfig:
    """Return what a configuration says. Raise ParameterError if it has no place for masks of a picture."""
    if len(text) > MAX_CHARACTERS or "<!DOCTYPE" in text:
        raise _wrong(f"may have {MAX_CHARACTERS} characters at most, and no document type")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise _wrong("is not XML") from error
    tags = list(root.iter())
    images = {tag.get("name", ""): tag for tag in tags if tag.tag.lower() == "image"}
    for tag in tags:
        if tag.tag.lower() in _FORMATS and tag.get("toName", "") in images:
            return _read(tag, images[tag.get("toName", "")], tags)
    raise _wrong("has no BrushLabels and no PolygonLabels of an Image, which is where masks belong")


def _read(tag: Element, image: Element, tags: Sequence[Element]) -> LabelConfig:
    key = image.get("value", "")
    if not key.startswith("$") or len(key) < 2:
        raise _wrong('has an Image whose `value` names no data of a task, such as value="$image"')
    labels: dict[str, str] = {}
    for number, (name, label) in enumerate(_labels(tag)):
        if number == MAX_NAMES:
            raise _wrong(f"may have {MAX_NAMES} labels and names of categories in `predicted_values` at most")
        labels.setdefault(_folded(name), label)
    if not labels:
        raise _wrong(f"has no Label in its {tag.tag}")
    return LabelConfig(
        format=_FORMATS[tag.tag.lower()],
        control=tag.get("name", ""),
        image=image.get("name", ""),
        key=key[1:],
        labels=labels,
        parameters={mine: tag.attrib[name] for name, mine in _PARAMETERS.items() if name in tag.attrib},
        rectangles=any(
            each.tag.lower() == _RECTANGLES and each.get("toName") == image.get("name") for each in tags
        ),
    )


def _labels(tag: Element) -> Iterator[tuple[str, str]]:
    """Yield each label by its name and by those in its attribute `predicted_values`, which other backends read, too."""
    for each in tag.iter():
        value = each.get("value")
        if each.tag.lower() == "label" and value:
            yield value, value
            for name in each.get("predicted_values", "").split(","):
                if name.strip():
                    yield name, value


def _folded(name: str) -> str:
    return name.strip().casefold()


def _wrong(detail: str) -> ParameterError:
    return ParameterError(NAME, detail)
