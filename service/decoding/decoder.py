"""The interface of image decoders."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.decoding.job import Job


class Decoder(Protocol):
    """Decodes images and resizes them to the network's input, some at a time."""

    async def start(self) -> None:
        """Be ready to decode."""
        ...

    async def decode(self, job: Job) -> NDArray[np.uint8]:
        """Return the resized picture [h, w, 3]. Raise ImageError, or an error of service/decoding/errors.py."""
        ...

    async def close(self) -> None:
        """End what is running."""
        ...
