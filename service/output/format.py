"""What a format of answers is, and what it is given to encode."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.config.categories import Category
from model.masks.palette import Colour
from service.output.limits import Allowance
from service.output.text import Text

if TYPE_CHECKING:
    from model.predict.headers.georeference import Georeference
    from model.predict.predictor import Result

Json = dict[str, Any]


@dataclass(frozen=True)
class TagNames:
    """How the labelling configuration of a tool calls what a region belongs to. Without one, as its template does."""

    control: str = "tag"
    image: str = "image"
    # By the name of the category; one that is missing is its own label.
    labels: Mapping[str, str] = field(default_factory=dict)
    given: tuple[str | None, ...] = ()  # labels of the first instances, whatever their categories

    def label(self, number: int, category: str) -> str:
        """Return the label of the region of this number."""
        given = self.given[number] if number < len(self.given) else None
        return self.labels.get(category, category) if given is None else given


Content = Json | list[Json] | bytes


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """What a model found in one image, and what else an answer may say about it."""

    request_id: str
    model: str
    task: str
    categories: tuple[Category, ...]
    palette: tuple[Colour, ...] = ()  # a colour for each category, of a semantic model
    width: int  # of the image as displayed
    height: int
    result: Result  # of the task: Instances, LabelMap
    degraded: bool = False  # coarser than asked for because the service is busy
    image_id: int = 0
    # RGB [height, width, 3]; None unless the format shows them.
    pixels: NDArray[np.uint8] | None = None
    crop: bool = False  # whether a picture shows the objects' extent alone
    more: Mapping[str, object] = field(default_factory=dict)  # further members of an envelope
    tags: TagNames = field(default_factory=TagNames)
    # Where the picture lies on a map; None unless the format writes map coordinates.
    georeference: Georeference | None = None


# Returns members of the answer, or the whole answer. Raises CancelledError if the client has left, TooDetailed or
# AnswerTooLarge if the allowance does not suffice.
Encoder = Callable[[Found, Allowance], Mapping[str, Any] | Text]


@dataclass(frozen=True)
class Format:
    """One way to write down what was found, with an encoder for each task that it serves.

    Encoders of an enveloped format return members, which are put between the answer's common ones: id, model, size of
    the image, timings. Those of any other format return the whole answer: a JSON list or object, or a file's bytes.
    """

    description: str
    encoders: Mapping[str, Encoder]
    media_type: str = "application/json"
    suffix: str = ".json"  # of a file with one answer
    enveloped: bool = True
    needs_pixels: bool = False  # whether it encodes the image's own pixels, too
    listed: bool = True  # whether the answers about a folder's images become one JSON list, not a file each
    first_id: int = 1  # of a folder's images, where nothing else says their ids
    drawable: bool = True  # whether the command line can draw an answer on its image
    placed: bool = False  # whether it makes use of the place of a GeoTIFF on a map

    @property
    def tasks(self) -> tuple[str, ...]:
        """Return the tasks whose results this format can hold."""
        return tuple(self.encoders)

    @property
    def is_json(self) -> bool:
        """Return whether the answer is JSON; otherwise it is the bytes of a file."""
        return self.media_type == "application/json"
