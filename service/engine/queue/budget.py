"""An amount of memory that many requests share."""

from __future__ import annotations


class Budget:
    """Bytes that may be held at once. Requests take their part before the work that needs it, and give it back."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.held = 0

    def fits(self, count: int) -> bool:
        """Return whether so many bytes more may be taken. The first may be larger than the whole budget."""
        return not self.held or self.held + count <= self.limit

    def take(self, count: int) -> None:
        """Hold so many bytes more, or less if `count` is negative. Whether they fit is for the caller to ask."""
        self.held += count
