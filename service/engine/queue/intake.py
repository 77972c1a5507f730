"""What a request will take, from the header of its image and its options: everything is known or predicted before work.

A request that asks for more than one may have is refused here, whatever room there is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from model.config.parts import Preprocessing
from model.predict.forecast import forecast
from model.predict.headers import FORMATS, Header, read_header
from model.predict.image_errors import TooMuchMemory
from model.predict.images import check_pixels
from model.predict.kept.picture import KeptPicture
from model.predict.resize import input_size, padded_size
from service.decoding.job import Job
from service.decoding.limits import MOST_RESULT
from service.engine.errors import TooCostly
from service.engine.levels import USUAL_LEVELS
from service.engine.queue.cost import CostModel, RequestWork
from service.engine.request import Request
from service.engine.tasks.table import KeptBoxes, Task
from service.output.cost import EncodeCost
from service.output.formats import FORMATS as OUTPUTS

_CHANNELS = 3  # bytes of a pixel

# A request that takes longer than both is large.
LARGE_PASSES = 4  # coarse passes over the largest input
LARGE_SHARE = 1 / 16  # of what one request may take at most


@dataclass(frozen=True)
class EngineConfig:
    """What one request may ask for. Without a server, files are the user's own, and only the work is bounded."""

    max_pixels: int  # of an image
    max_points: int  # work that its masks may need
    formats: tuple[str, ...] = FORMATS
    degrade_at: float | None = None  # share of the queue from which on masks are coarser; None: never
    decode_seconds: float = math.inf  # that decoding an image may take
    decode_bytes: float = math.inf  # memory that it may take
    encode_bytes: float = math.inf  # memory that encoding its answer may take
    most_seconds: float = math.inf  # predicted seconds of a request
    keep_seconds: float = 0  # for which a picture may be kept


@dataclass(frozen=True)
class Intake:
    """Knows the limits of one model's requests, and what they cost."""

    config: EngineConfig
    task: Task
    costs: CostModel
    preprocessing: Preprocessing

    def read(self, image: bytes) -> Header:
        """Return the header of an image. Raise ImageError if it may not be decoded."""
        header = read_header(image, self.config.formats)
        check_pixels(header, self.config.max_pixels)
        return header

    def plan(self, request: Request, header: Header) -> Job:
        """Set what the request will take, and return how its image is decoded.

        Raise ParameterError, TooMuchMemory or TooCostly if that is more than a request may have.
        """
        config, pixels = self.config, self.preprocessing
        self.task.check_size(request.options, header.width, header.height, config.max_points)
        job = self._job(request.image, header, input_size(header.height, header.width, pixels))
        if OUTPUTS[request.format].needs_pixels:
            self._check_pixels(header)
            request.whole = self._job(request.image, header, (header.height, header.width))
        request.width, request.height = header.width, header.height
        request.padded = padded_size(*job.size, pixels.stride)
        request.maps_bytes = self.task.maps_bytes(request.padded, keep=request.keep is not None)
        request.coarse_cost = self.costs.coarse(math.prod(request.padded))
        work = RequestWork(
            math.prod(request.padded),
            points=self.task.expected_work(request.options, request.max_side),
            decoding=job.seconds + (0.0 if request.whole is None else request.whole.seconds),
            encoding=self._encoding(request),
        )
        self.set_cost(request, work)
        return job

    def plan_boxes(self, request: Request, picture: KeptPicture, boxes: KeptBoxes) -> None:
        """Set what boxes of a kept picture will take. Raise ParameterError if that is too much, NotKept."""
        options = request.options
        self.task.check_size(options, picture.width, picture.height, self.config.max_points)
        request.width, request.height = picture.width, picture.height
        request.prepared = boxes.prepared(picture, options)
        request.maps_bytes, count = boxes.maps_bytes(options), len(options.prompts)
        request.coarse_cost = self.costs.boxes(count)
        points = self.task.expected_work(options, request.max_side)
        self.set_cost(request, RequestWork(0, points, encoding=self._encoding(request), boxes=count))

    def _encoding(self, request: Request) -> float:
        """Return the usual seconds of encoding an answer, and the levels before it if they are shown."""
        encodings = 1 if request.levels is None else 1 + USUAL_LEVELS
        size = request.width, request.height
        return encodings * self.task.encode_seconds(request.options, request.format, *size)

    def _job(self, image: bytes, header: Header, size: tuple[int, int]) -> Job:
        """Return how an image is decoded at a size (height, width). Raise TooMuchMemory if that takes too much."""
        expected, most = forecast(header, size), self.config.decode_bytes
        if expected.bytes > most:
            raise TooMuchMemory(
                f"decoding the {header.format} image may take {expected.bytes} bytes, and {most} are "
                "allowed: send a smaller image, or one that is stored more simply, such as baseline JPEG"
            )
        return Job(image, header, size, expected.bytes, expected.seconds, wall=self.config.decode_seconds)

    def _check_pixels(self, header: Header) -> None:
        """Raise TooCostly if an answer that shows the image's own pixels would take more memory than one may."""
        size, most = _CHANNELS * header.pixels, min(self.config.encode_bytes, MOST_RESULT)
        if size > most:
            raise TooCostly(
                f"the image's {header.pixels} pixels, which such an answer shows, take {size} bytes, and {most:.0f} "
                "are allowed: send a smaller image, or ask for another format"
            )

    def set_cost(self, request: Request, work: RequestWork) -> None:
        """Set the predicted seconds of a request that asks for this work."""
        request.cost, request.least_cost = self.costs.total(work), self.costs.least(work)

    def check_answer(self, cost: EncodeCost) -> None:
        """Raise TooCostly if encoding an answer takes more memory than all answers may. After its renders."""
        if cost.bytes > self.config.encode_bytes:
            raise TooCostly(
                f"encoding the answer would take {cost.bytes} bytes, and {self.config.encode_bytes:.0f} are allowed: "
                "lower resolution or max_instances, or send a smaller image"
            )

    def is_large(self, request: Request) -> bool:
        """Return whether a request takes as long as several usual ones, and a part of the queue worth noticing."""
        passes = LARGE_PASSES * self.costs.least(RequestWork(self.largest_input))
        return request.least_cost > max(passes, LARGE_SHARE * self.config.most_seconds)

    def check_cost(self, request: Request) -> None:
        """Raise TooCostly if a request would take longer than one may, were the machine as fast as it ever was.

        Not at its present speed: a prediction that was once too high would then refuse all work, and stay so.
        """
        if request.least_cost > self.config.most_seconds:
            raise TooCostly(
                f"the request would take about {request.least_cost:.1f} s, and {self.config.most_seconds:g} s are "
                "allowed: lower resolution, points or the number of boxes, or send a smaller image"
            )

    @property
    def largest_input(self) -> int:
        """The padded pixels of the largest input that the network gets."""
        pixels = self.preprocessing
        return math.prod(padded_size(pixels.short_edge, pixels.long_edge, pixels.stride))
