"""Format `label_studio`: a prediction with brush regions, in Label Studio's packed run lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.masks.rle import counts_of
from model.masks.transpose import transposed
from service.output.format import Format, Found, TagNames
from service.output.limits import Allowance
from service.output.text import Text, array_text, numbers_text, object_text
from service.output.tools.regions import FoundRegion, regions

_CHANNELS = 4  # red, green, blue and alpha of each pixel have a value each, all of them alike
_WORD = 8  # bits of a value
_SIZES = (3, 4, 8, 16)  # bits that a run's length may have
_MOST = 1 << _SIZES[-1]  # values of a run
_PART = 1 << 13  # runs that are packed at a time


def encode(found: Found, left: Allowance) -> Text:
    """Return a prediction with a region for each instance, or each class of a label map."""
    return prediction(found, left, _brush)


def prediction(
    found: Found, left: Allowance, drawn: Callable[[Found, FoundRegion, int, Allowance], Iterable[Text]]
) -> Text:
    """Return a prediction. `drawn` returns the regions of an instance or a class, which has a number."""
    scores: list[float] = []

    def drawn_regions() -> Iterator[Text]:
        for number, region in enumerate(regions(found, left)):
            if region.score is not None:
                scores.append(region.score)
            yield from drawn(found, region, number, left)

    result = array_text(drawn_regions())
    mean = {"score": float(np.mean(scores))} if scores else {}
    return object_text({"model_version": found.model, **mean, "result": result})


def region_text(
    found: Found, region: FoundRegion, number: int | str, kind: str, value: Mapping[str, Any]
) -> Text:
    """Return a region of this kind. `number` is another one for each region of the prediction."""
    score = {} if region.score is None else {"score": region.score}
    return object_text(
        {
            "id": f"{found.request_id}-{number}",
            "type": kind,
            "from_name": found.tags.control,
            "to_name": found.tags.image,
            "original_width": found.width,
            "original_height": found.height,
            "image_rotation": 0,
            **score,
            "value": object_text(value),
        }
    )


def _brush(found: Found, region: FoundRegion, number: int, left: Allowance) -> Iterator[Text]:
    rows = transposed(region.runs, left.check, left.corners // 2)
    left.corners -= rows.ends.size
    counts = counts_of(rows, found.height, found.width)
    packed = Text([b"[", b",".join(_packed(counts, left)), b"]"])
    label = found.tags.label(number, region.category.name)
    value = {"format": "rle", "rle": packed, "brushlabels": [label]}
    yield region_text(found, region, number, "brushlabels", value)


def _packed(counts: NDArray[np.int64], left: Allowance) -> Iterator[bytes]:
    """Yield the bytes of Label Studio's form of a mask, as numbers in text.

    It is a string of bits: the number of values in 32, the size of a value, less one, in 5, each of the four sizes that
    a run's length may have, less one, in 4. Then for each run a one, which of the sizes it has in 2, its length less
    one, and the value.
    """
    total = int(counts.sum()) * _CHANNELS
    head = [(total, 32), (_WORD - 1, 5), *((size - 1, 4) for size in _SIZES)]
    rest = _bits(*(np.array(each, np.int64) for each in zip(*head, strict=True)))
    for start in range(0, counts.size, _PART):
        left.check()
        lengths = counts[start : start + _PART] * _CHANNELS
        values = np.where((start + np.arange(lengths.size)) % 2, 255, 0)
        for part in _short_runs(lengths, values):
            rest = np.concatenate((rest, _bits(*_tokens(*part))))
            whole = rest.size // 8 * 8
            if whole:
                yield _text(rest[:whole])
            rest = rest[whole:]
    # As Label Studio's own encoder, which fills up with one to eight zeros.
    yield _text(np.concatenate((rest, np.zeros(8 - rest.size % 8, np.uint8))))


def _short_runs(
    lengths: NDArray[np.int64], values: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield runs that are no longer than one may be, in parts of about _PART, without empty ones."""
    pieces = -(-lengths // _MOST)
    bounds = np.cumsum(pieces)
    for start in range(0, int(bounds[-1]), _PART):
        place = np.arange(start, min(start + _PART, int(bounds[-1])))
        run = np.searchsorted(bounds, place, "right")
        last = place == bounds[run] - 1
        yield np.where(last, lengths[run] - (pieces[run] - 1) * _MOST, _MOST), values[run]


def _tokens(
    lengths: NDArray[np.int64], values: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each run as a number and how many bits that has. A run of one value would be no run; there is none."""
    which = np.searchsorted([1 << size for size in _SIZES], lengths)
    size = np.array(_SIZES)[which]
    number = ((((1 << 2) + which) << size) + lengths - 1 << _WORD) + values
    return number, 3 + size + _WORD


def _bits(numbers: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return the bits of numbers, the highest first, one after the other."""
    ends = np.cumsum(sizes)
    shift = np.repeat(ends, sizes) - 1 - np.arange(int(ends[-1]))
    return ((np.repeat(numbers, sizes) >> shift) & 1).astype(np.uint8)


def _text(bits: NDArray[np.uint8]) -> bytes:
    packed = np.packbits(bits)
    return b"".join(numbers_text(packed.astype(np.int32)).pieces)[1:-1]


FORMAT = Format(
    "a prediction of Label Studio with a brush region for each instance or class, "
    f"for a tag `{TagNames.control}` of an image `{TagNames.image}`",
    {"instance": encode, "semantic": encode},
    enveloped=False,
    listed=False,
    drawable=False,
)
