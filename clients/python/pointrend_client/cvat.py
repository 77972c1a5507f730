"""A function for CVAT's automatic annotation, which asks the service for the masks of each frame.

    cvat-cli task auto-annotate 7 --function-module pointrend_client.cvat \\
        -p url=str:http://127.0.0.1:8000 -p model=str:people --allow-unmatched-labels

It needs cvat-sdk (the extra `cvat`); the command is in the package cvat-cli.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any, Unpack, cast

import cvat_sdk.auto_annotation as annotation
import PIL.Image
from cvat_sdk import models

from pointrend_client.client import Client
from pointrend_client.errors import ClientError
from pointrend_client.parameters import MaskParameters, Parameters


def create(
    url: str = "http://127.0.0.1:8000", api_key: str | None = None, **parameters: Unpack[MaskParameters]
) -> ServedFunction:
    """Return the function. `parameters` are those of POST /segment.

    Its labels are the model's classes, or those of the parameter `classes`. Raises ClientError if the service has no
    such model.
    """
    return ServedFunction(Client(url, api_key=api_key), parameters)


class ServedFunction:
    """What cvat_sdk.auto_annotation calls a detection function. Its labels are the model's classes, of type mask."""

    def __init__(self, client: Client, parameters: MaskParameters) -> None:
        self._client = client
        # CVAT never says that it is done with a function.
        weakref.finalize(self, client.__exit__, None, None, None)
        self._parameters = parameters
        served, name = client.models(), parameters.get("model")
        model = next((each for each in served if name in (None, each.name)), None)
        if model is None:
            names = ", ".join(each.name for each in served)
            raise ClientError(f"the service has no model {name!r}; it has {names}")
        self._task = model.task
        self._labels = {
            category: label for label, category in enumerate(_asked(parameters, model.categories.values()))
        }

    @property
    def spec(self) -> annotation.DetectionFunctionSpec:
        """The labels: the model's classes, or those that are asked for."""
        labels = [annotation.label_spec(name, label, type="mask") for name, label in self._labels.items()]
        return annotation.DetectionFunctionSpec(labels=labels)

    def detect(
        self, context: annotation.DetectionFunctionContext, image: PIL.Image.Image
    ) -> list[models.LabeledShapeRequest]:
        """Return the masks of a frame, or polygons if CVAT wants them. Raises ClientError.

        CVAT's threshold, if it names one, is the least score.
        """
        if context.conv_mask_to_poly:
            if self._task != "instance":
                raise ClientError(f"only instance models give polygons, and this one is {self._task}")
            return list(self._polygons(self._answer(context, image, "polygon")))
        return [
            annotation.mask(self._labels[each["label"]], each["points"], **_score(each))
            for each in self._answer(context, image, "cvat")
        ]

    def _answer(self, context: Any, image: PIL.Image.Image, format: str) -> Any:
        asked = {**self._parameters, "format": format}
        if context.conf_threshold is not None and self._task == "instance":
            asked["score"] = context.conf_threshold
        return self._client.post(image, **cast("Parameters", asked)).json()

    def _polygons(self, answer: Any) -> Iterator[models.LabeledShapeRequest]:
        """Yield the polygons of each instance. Those of one that has several parts are a group."""
        for number, each in enumerate(answer["instances"], 1):
            parts = each["segmentation"]
            for corners in parts:
                group = {"group": number} if len(parts) > 1 else {}
                yield annotation.polygon(self._labels[each["category"]], corners, **group, **_score(each))


def _asked(parameters: MaskParameters, known: Iterable[str]) -> list[str]:
    """Return the classes that answers may have, in the order of the model."""
    classes = parameters.get("classes")
    if classes is None:
        return list(known)
    named = classes.split(",") if isinstance(classes, str) else classes
    wanted = {name.strip() for name in named}
    return [name for name in known if name in wanted]


def _score(entry: Any) -> dict[str, float]:
    return {"score": entry["score"]} if "score" in entry else {}
