"""One process or several: torchrun's group, and which process prints."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist

PATIENCE = timedelta(hours=6)  # how long processes wait for rank 0, which validates alone


@dataclass(frozen=True)
class Process:
    """This process among those of a run (torchrun sets the environment)."""

    rank: int = 0
    world_size: int = 1

    @staticmethod
    def join() -> Process:
        """Join the group of a torchrun launch (gloo on CPUs, nccl on GPUs), or be alone."""
        if "WORLD_SIZE" not in os.environ:
            return Process()
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # nccl takes the current one
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
        return Process(dist.get_rank(), dist.get_world_size())

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def device(self) -> torch.device:
        """Return this process's device."""
        if torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cpu")

    def say(self, text: str) -> None:
        """Print a text on the first process alone."""
        if self.rank == 0:
            print(text, flush=True)
