"""The product of the point head's hidden layers, which is nearly all of its work, with what is added to it and ReLU.

On x86 processors PyTorch has two libraries for it. MKL's product is followed by a pass of its own over the result for
ReLU, and on AMD's processors it is the slower one. oneDNN does all of it in one pass, as a 1×1 convolution over n
pixels. On Intel's processors both come from Intel and reach the same share of the peak, so only the pass is saved.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

# oneDNN prepares code for each new number of points (0.6 ms), which fewer of them would not make up for.
_LEAST_POINTS = 512
# Both libraries are there.
_X86: bool = torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def relu_of_product(x: Tensor, weight: Tensor, added: Tensor) -> Tensor:
    """Return relu(x · weightᵀ + added), [n, D], from x [n, C] and weight [D, C].

    added: [n, D], whose memory is reused, or a bias [D].
    """
    if _by_convolution(x):
        return _convolution(x, weight, added)
    if added.dim() == 1:
        return F.relu_(F.linear(x, weight, added))
    return F.relu_(added.addmm_(x, weight.T))


def _by_convolution(x: Tensor) -> bool:
    return _X86 and x.device.type == "cpu" and x.dtype == torch.float32 and len(x) >= _LEAST_POINTS


def _convolution(x: Tensor, weight: Tensor, added: Tensor) -> Tensor:
    """Return the same by the operators that PyTorch's own compiler uses for a convolution and what follows it."""
    kernel = weight.contiguous()[:, :, None, None]
    place = [0, 0], [1, 1], [1, 1], 1  # padding, stride, dilation, groups
    if added.dim() == 1:
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            _pixels(x), kernel, added, *place, "relu", [], None
        )
        return found[0, :, 0].T
    torch.ops.mkldnn._convolution_pointwise_.binary(
        _pixels(added), _pixels(x), kernel, None, *place, "add", 1.0, "relu", [], None
    )
    return added


def _pixels(x: Tensor) -> Tensor:
    """Return a view of rows [n, C] as an image [1, C, 1, n] whose channels are last in memory."""
    return x[None, None].permute(0, 3, 1, 2)
