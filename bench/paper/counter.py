"""Counting the work of the operations that PyTorch really executes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
# Matrix products, and the position of their left factor [..., m, k] among the arguments.
_PRODUCTS = {aten.mm.default: 0, aten.bmm.default: 0, aten.addmm.default: 1, aten.baddbmm.default: 1}


@dataclass(frozen=True)
class Work:
    """Multiply-accumulates, and activations: the elements that convolutions and matrix products return."""

    multiplies: int = 0
    activations: int = 0

    def __add__(self, other: Work) -> Work:
        return Work(self.multiplies + other.multiplies, self.activations + other.activations)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the work of every convolution and matrix product while it is active. Nothing else counts."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.work = Work()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is not aten.convolution.default and func not in _PRODUCTS:
            # In inference mode compound operations (such as linear) are not split before they arrive here.
            with self:
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        result = func(*args, **kwargs)
        if func is aten.convolution.default:
            # Every element of the output (of the input, if transposed) is multiplied with the weights of one filter.
            places: Tensor = args[0] if args[6] else result
            self.work += Work(places.numel() * args[1][0].numel(), result.numel())
        elif func in _PRODUCTS:
            self.work += Work(result.numel() * args[_PRODUCTS[func]].shape[-1], result.numel())
        return result


def count(work: Callable[[], object]) -> Work:
    """Return the work of a function's convolutions and matrix products, without gradients."""
    counter = Counter()
    with torch.no_grad(), counter:
        work()
    return counter.work
