"""What a request will cost the device, in seconds, learned from what earlier ones did cost."""

from __future__ import annotations

from dataclasses import dataclass, field

from model.predict import Options
from model.render import total_points


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
    point: Rate = field(default_factory=lambda: Rate(4e-6))  # of the renderer
    found: Mean = field(default_factory=lambda: Mean(4.0))  # instances of an image
    native: Mean = field(default_factory=lambda: Mean(float(total_points(224, None))))  # points an instance

    def predict(self, pixels: int, options: Options, at_most: int | None = None) -> float:
        """Seconds for an image of padded `pixels`, whose masks have a side of `at_most`."""
        detected = min(self.found.value, options.max_instances)
        instances = detected if options.prompts is None else len(options.prompts)
        if options.resolution == "native":
            each = self.native.value if options.points is None else total_points(224, options.points)
        else:
            each = total_points(options.resolution, options.points)
        if at_most is not None:
            each = min(each, total_points(at_most, options.points))
        return pixels * self.pixel.value + instances * each * self.point.value

    def saw_pass(self, pixels: int, seconds: float) -> None:
        """A coarse pass over padded `pixels` of all its images."""
        self.pixel.add(pixels, seconds)

    def saw_points(self, points: int, seconds: float) -> None:
        """A step of the renderer."""
        self.point.add(points, seconds)

    def saw_instances(self, options: Options, points: list[int]) -> None:
        """What an image had: the points that each of its instances takes in all."""
        if options.prompts is None:
            self.found.add(len(points))
        if options.resolution == "native" and options.points is None and points:
            self.native.add(sum(points) / len(points))
