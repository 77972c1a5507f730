"""The memory of coarse passes and renders: a request's maps from its pass on, and its masks once it is refined.

A request holds it until its answer is encoded. If nobody has memory for masks, the first may always have it, so that
requests never wait for memory that nobody will give back.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.engine.device.batching import Batch
from service.engine.errors import TooCostly
from service.engine.queue.budget import Budget
from service.engine.request import Request


class RenderMemory:
    """Decides which requests may begin a coarse pass, and which may be refined, by the memory that is left."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._with_masks = 0  # requests that hold memory for their masks

    def fitting(self, batch: Batch) -> Batch | None:
        """Return the first requests of a batch whose maps fit, or None if there is room for none of them."""
        count = total = 0
        for request in batch.requests:
            total += request.maps_bytes
            if not self._budget.fits(total) and not (count == 0 and self._budget.held == 0):
                break
            count += 1
        return Batch(batch.requests[:count], batch.reason) if count else None

    def hold_maps(self, requests: Sequence[Request]) -> None:
        """Hold the memory of the maps that a coarse pass over these requests gives."""
        for request in requests:
            self._hold(request, request.maps_bytes)

    def check(self, request: Request) -> None:
        """Raise TooCostly if the masks that a coarse pass found take more memory than those of all requests may."""
        masks = request.masks_bytes
        if masks > self._budget.limit:
            raise TooCostly(
                f"its {len(request.prediction.renders)} masks would take {masks} bytes, and {self._budget.limit:.0f} "
                "are allowed: lower resolution or max_instances"
            )

    def with_masks(self, requests: Sequence[Request]) -> list[Request]:
        """Return those of the requests, given in the order of their turn, whose masks have memory from now on.

        If nobody has such memory yet, the first is among them.
        """
        chosen: list[Request] = []
        for request in requests:
            if not request.rendering:
                needed = request.masks_bytes
                if self._with_masks and not self._budget.fits(needed):
                    continue
                self._hold(request, needed)
                request.rendering = True
                self._with_masks += 1
            chosen.append(request)
        return chosen

    def release(self, request: Request) -> None:
        """Give back all that a request holds."""
        self._hold(request, -request.held_bytes)
        self._with_masks -= request.rendering
        request.rendering = False

    def _hold(self, request: Request, count: int) -> None:
        request.held_bytes += count
        self._budget.take(count)
