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
class CostModel:
    """Rates of one model on one device. The guesses only matter until the warm-up has run."""

    pixel: Mean = field(default_factory=lambda: Mean(5e-7))  # s a padded pixel of a coarse pass
    point: Mean = field(default_factory=lambda: Mean(4e-6))  # s a point of the renderer
    found: Mean = field(default_factory=lambda: Mean(4.0))  # instances of an image
    native: Mean = field(default_factory=lambda: Mean(float(total_points(224, None))))  # points an instance

    def predict(self, pixels: int, options: Options) -> float:
        """Seconds for an image of padded `pixels`."""
        detected = min(self.found.value, options.max_instances)
        instances = detected if options.prompts is None else len(options.prompts)
        if options.resolution == "native":
            each = self.native.value if options.points is None else total_points(224, options.points)
        else:
            each = total_points(options.resolution, options.points)
        return pixels * self.pixel.value + instances * each * self.point.value

    def saw_pass(self, pixels: int, seconds: float) -> None:
        """A coarse pass over padded `pixels` of all its images."""
        self.pixel.add(seconds / pixels)

    def saw_points(self, points: int, seconds: float) -> None:
        """A step of the renderer."""
        self.point.add(seconds / points)

    def saw_instances(self, options: Options, points: list[int]) -> None:
        """What an image had: the points that each of its instances takes in all."""
        if options.prompts is None:
            self.found.add(len(points))
        if options.resolution == "native" and options.points is None and points:
            self.native.add(sum(points) / len(points))
