"""What encoding an answer may take at most; `python -m bench.speed.encoding` measures it."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import ClassVar

from model.errors import UserError
from model.masks.runs import TooDetailed

MAX_BOX_PIXELS = 600_000_000  # of all masks' boxes within the image, overlaps counted twice: 2 to 4 s
MAX_RUNS = 2_000_000  # of all masks or segments, and half of the corners of all polygons: 2 s, 50 MB of text
MAX_EDITED_RUNS = 100_000  # the same of polygons that are simplified
MAX_EDGE = 4_000_000  # pixels at the edges of a cut-out: 7 s


class AnswerTooLarge(UserError):
    """The answer would be too large, or take too long to encode. The message says what is allowed."""

    kind: ClassVar[str] = "too-costly"


@dataclass
class Allowance:
    """What is left for an answer that is being encoded."""

    abandoned: threading.Event  # set when the client has left
    runs: int = MAX_RUNS
    corners: int = 2 * MAX_RUNS
    edge: int = MAX_EDGE

    def check(self) -> None:
        """Raise CancelledError if the client has left."""
        if self.abandoned.is_set():
            raise CancelledError


def check_pixels(pixels: float) -> None:
    """Raise AnswerTooLarge if masks have too many pixels in their boxes."""
    if pixels > MAX_BOX_PIXELS:
        raise AnswerTooLarge(
            f"the boxes of all masks have {pixels:.0f} pixels within the image, and {MAX_BOX_PIXELS} are allowed: "
            "ask for fewer instances, or send a smaller image"
        )


def check_whole_masks(count: int, pixels: int) -> None:
    """Raise AnswerTooLarge if so many masks, as pictures of as many pixels each as the image has, are too much."""
    if count * pixels > MAX_BOX_PIXELS:
        raise AnswerTooLarge(
            f"{count} masks as pictures of the whole image have {count * pixels} pixels, and {MAX_BOX_PIXELS} are "
            "allowed: ask for fewer instances or another format, or send a smaller image"
        )


def too_detailed(error: TooDetailed) -> AnswerTooLarge:
    """Return what is said of masks whose outlines are too long."""
    return AnswerTooLarge(
        f"the outlines are too long for an answer, which may have {MAX_RUNS} runs of pixels: ask for a lower "
        f"resolution or fewer instances, or send a smaller image"
    )


def check_edge(left: Allowance) -> None:
    """Raise AnswerTooLarge if more pixels at edges were computed than an answer may have."""
    if left.edge < 0:
        raise AnswerTooLarge(
            f"the outlines pass through too many pixels for a cut-out, which may have {MAX_EDGE} at its edges: ask for "
            "a lower resolution or fewer instances, or send a smaller image"
        )
