"""The number of threads of PyTorch's operations, which is set for each thread of Python."""

from __future__ import annotations

import torch


def set_torch_threads(count: int) -> None:
    """Let the operations that the calling thread runs from now on use `count` threads.

    Only the device's thread has several. OpenMP keeps a team of threads for every thread that asks for one. When all
    teams together have more threads than there are processors, their threads sleep between two operations, and waking
    them nearly doubles the time of a step of the renderer.
    """
    # PyTorch gives a thread the number that any thread has set last, once, when the thread first asks. Ask before our
    # own number is set, or another thread's could take its place.
    torch.get_num_threads()
    torch.set_num_threads(count)
