"""What a request will cost the device, in seconds, learned from what earlier ones did cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from model.pointrend.render import SIDES, native_side, total_work
from model.predict.instance import InstanceOptions


def sides(options: InstanceOptions, detections: int) -> Counter[int]:
    """How many masks of each side a request asks for; unless boxes tell, `detections` of the largest."""
    if options.prompts is None:
        side = SIDES[-1] if options.resolution == "native" else options.resolution
        return Counter({side: min(options.max_instances, detections)})
    if options.resolution != "native":
        return Counter({options.resolution: len(options.prompts)})
    boxes = (prompt.box for prompt in options.prompts)
    return Counter(native_side(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes)


@dataclass
class Mean:
    """A moving average; the first observation replaces the guess."""

    value: float
    known: bool = False

    def add(self, seen: float) -> None:
        self.value += (seen - self.value) * (0.1 if self.known else 1.0)
        self.known = True


@dataclass
class Rate:
    """Seconds a unit of work, over recent work: large portions count for more, as they should."""

    guess: float
    seconds: float = 0.0
    units: float = 0.0

    @property
    def value(self) -> float:
        return self.seconds / self.units if self.units else self.guess

    def add(self, units: float, seconds: float) -> None:
        self.seconds = 0.95 * self.seconds + seconds
        self.units = 0.95 * self.units + units


@dataclass
class CostModel:
    """Rates of one model on one device. The guesses only matter until the warm-up has run."""

    pixel: Rate = field(default_factory=lambda: Rate(5e-7))  # padded, of a coarse pass
    point: Rate = field(default_factory=lambda: Rate(4e-6))  # of the renderer's work
    found: Mean = field(default_factory=lambda: Mean(4.0))  # instances of an image
    # Work of an instance, in points.
    native: Mean = field(default_factory=lambda: Mean(float(total_work(224, None))))

    def predict(self, pixels: int, options: InstanceOptions, at_most: int | None = None) -> float:
        """Seconds for an image of padded `pixels`, whose masks have a side of `at_most`."""
        most = SIDES[-1] if at_most is None else at_most
        if options.prompts is not None:
            asked = sides(options, 0).items()
            work: float = sum(count * total_work(min(side, most), options.points) for side, count in asked)
        else:
            work = min(self.found.value, options.max_instances) * self._each(options, most)
        return pixels * self.pixel.value + work * self.point.value

    def _each(self, options: InstanceOptions, most: int) -> float:
        """Work of a detected instance."""
        if options.resolution != "native":
            return total_work(min(options.resolution, most), options.points)
        usual = self.native.value if options.points is None else total_work(224, options.points)
        return min(usual, total_work(most, options.points))

    def saw_pass(self, pixels: int, seconds: float) -> None:
        """A coarse pass over padded `pixels` of all its images."""
        self.pixel.add(pixels, seconds)

    def saw_points(self, points: int, seconds: float) -> None:
        """A step of the renderer, and its work."""
        self.point.add(points, seconds)

    def saw_instances(self, options: InstanceOptions, work: Sequence[int]) -> None:
        """What detection found in an image: the work that each instance takes in all, in points."""
        if options.prompts is not None:
            return
        self.found.add(len(work))
        if options.resolution == "native" and options.points is None and work:
            self.native.add(sum(work) / len(work))
