"""Names and shapes of a network's tensors, and whether given tensors have exactly these."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from model.checkpoints.errors import CheckpointError
from model.config.network import NetworkConfig
from model.networks.build import build_network

Shape = Sequence[int]
_LISTED = 10  # names in one error message; a wrong architecture would list hundreds


def network_shapes(config: NetworkConfig) -> dict[str, torch.Size]:
    """Return names and shapes of the tensors of the configuration's network, built without memory for them."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in build_network(config).state_dict().items()}


def fit(tensors: Mapping[str, Tensor], expected: Mapping[str, Shape]) -> None:
    """Check that `tensors` are exactly the expected ones: no name missing or left over, every shape right.

    Raises CheckpointError that lists all three kinds of misfit.
    """
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ]
    misfits = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "of another shape": misshapen,
    }
    found = [f"{kind}: {listed(names)}" for kind, names in misfits.items() if names]
    if found:
        raise CheckpointError("the tensors do not fit the network; " + "; ".join(found))


def fitting(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those of `given` that `own` has with the same shape."""
    return {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}


def listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
