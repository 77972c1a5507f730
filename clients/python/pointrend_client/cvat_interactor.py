"""An interactor for CVAT: a box that somebody draws becomes the mask of what is inside it.

It needs cvat-sdk (the extra `cvat`), of a version that has interaction functions. An agent of cvat-cli runs it:

    cvat-cli function create-native PointRend --function-module pointrend_client.cvat_interactor \\
        -p url=str:http://127.0.0.1:8000 -p model=str:anything
"""

from __future__ import annotations

import weakref
from typing import Unpack, cast

import cvat_sdk.auto_annotation as annotation
import PIL.Image
from cvat_sdk import models

from pointrend_client.client import Client
from pointrend_client.parameters import MaskParameters, Parameters


def create(
    url: str = "http://127.0.0.1:8000", api_key: str | None = None, **parameters: Unpack[MaskParameters]
) -> ServedInteractor:
    """Return the interactor. `parameters` are those of POST /segment for instance models."""
    return ServedInteractor(Client(url, api_key=api_key), parameters)


class ServedInteractor:
    """What cvat_sdk.auto_annotation calls an interaction function. It takes one box and no points."""

    def __init__(self, client: Client, parameters: MaskParameters) -> None:
        self._client = client
        # CVAT never says that it is done with a function.
        weakref.finalize(self, client.__exit__, None, None, None)
        self._parameters = parameters

    @property
    def spec(self) -> annotation.InteractionFunctionSpec:
        """One bounding box, and no points."""
        return annotation.InteractionFunctionSpec(min_pos_points=0, min_bounding_boxes=1)

    def detect(
        self,
        context: annotation.InteractionFunctionContext,
        pp_image: PIL.Image.Image,
        prompts: annotation.InteractionPrompts,
    ) -> list[annotation.InteractionResultShape]:
        """Return the mask of what is in the box; none if there is no box, or nothing in it. Raises ClientError."""
        if prompts.bounding_box is None:
            return []
        (x0, y0), (x1, y1) = prompts.bounding_box
        asked = {**self._parameters, "boxes": [[x0, y0, x1, y1]], "format": "cvat"}
        answer = self._client.post(pp_image, **cast("Parameters", asked)).json()
        confidence = annotation.InteractionResultAttributes.CONFIDENCE
        return [
            annotation.InteractionResultShape(
                type="mask",
                points=each["points"],
                attributes=[models.AttributeValRequest(spec_id=confidence, value=str(each["score"]))],
            )
            for each in answer
        ]
