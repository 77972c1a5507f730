"""What can be wrong with an image that somebody sent.

ImageError
├── EmptyBody          there are no bytes
├── NotAnImage         no image format starts like this
├── CorruptImage       the format is allowed, but the file is truncated or damaged
├── SlowImage          decoding takes too long
├── TooManyPixels      the header says so, before anything is decoded
├── TooMuchMemory      decoding takes more memory than there is
└── UnsupportedFormat  an image of a format or kind of pixels that is not allowed, or that the decoder cannot read
"""

from __future__ import annotations

from typing import ClassVar


class ImageError(Exception):
    """An image that cannot be used. The message is one line for whoever sent it; `kind` names the problem."""

    kind: ClassVar[str]


class EmptyBody(ImageError):
    kind = "empty-body"


class NotAnImage(ImageError):
    kind = "not-an-image"


class CorruptImage(ImageError):
    kind = "corrupt-image"


class SlowImage(ImageError):
    kind = "slow-image"


class TooManyPixels(ImageError):
    kind = "too-many-pixels"


class TooMuchMemory(ImageError):
    kind = "too-much-memory"


class UnsupportedFormat(ImageError):
    kind = "unsupported-format"
