"""How many threads PyTorch's operations run on, which each thread of Python decides for itself."""

from __future__ import annotations

import torch


def compute_with(count: int) -> None:
    """Let the operations that the calling thread runs from now on use `count` threads.

    Only the device's thread has several. OpenMP keeps a team of threads for every thread that asks for one. When all
    teams together have more threads than there are processors, their threads sleep between two operations, and waking
    them nearly doubles the time of a step of the renderer.
    """
    torch.set_num_threads(count)
    # Without this a thread takes over what any thread has set last, with its first operation that is divided.
    torch.get_num_threads()
