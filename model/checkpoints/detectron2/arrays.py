"""Read the files of the reference implementation's (detectron2's) checkpoints as arrays, without running their code.

What a file may ask for is in pickles.py.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.detectron2.pickles import PickledArray, read_pickle, read_torch
from model.checkpoints.errors import CheckpointError
from model.errors import reason

Array = NDArray[Any]

_SHARED = 2  # times that the arrays of a file may have its bytes, because names may share numbers
_MOST_SIDES = 8  # of a shape
_PLAIN = {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64} | {
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
}
_STATE_DICTS = ("model", "state_dict", "model_state_dict", "module", "network", "net", "weights")
_DEEPEST = 8  # dictionaries in each other; a damaged one may hold itself
# What wrappers put before a parameter's name: training on several GPUs, torch.compile (also around a part of a
# network), and a module that holds a network with its losses.
_WRAPPERS = re.compile(r"^((module|model|_orig_mod)\.)+|(?<=\.)_orig_mod\.")
_REFUSED_HERE = re.compile(r"refused .*")  # in messages of pickles.py, which torch puts into one of its own
_REFUSED_BY_TORCH = re.compile(r"GLOBAL ([\w.]+)")


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Return the arrays of a `.pkl` (numpy) or `.pth` (torch) file by name.

    They are looked for in the dictionaries in which training programs put a state dict, and their names lose the
    prefixes of what was around the network. Numbers and texts beside them are left out. Raises CheckpointError if
    the file is damaged, asks for anything but arrays and numbers, or holds something else.
    """
    path = Path(path)
    try:
        content = read_torch(path) if _is_torch(path) else read_pickle(path)
    except Exception as error:  # a damaged pickle raises nearly anything
        raise CheckpointError(f"{path.name} could not be read: {_why(error)}") from error
    model = _state_dict(content, path.name)
    arrays: dict[str, Array] = {}
    room = _SHARED * path.stat().st_size
    for name, value in model.items():
        if value is None or isinstance(value, bool | int | float | str):
            continue
        size = _bytes(value)
        if not isinstance(name, str) or size is None:
            raise CheckpointError(f"{path.name} holds {str(name)[:80]!r}, which is no array")
        # A shape is only written down: with strides of 0 it repeats one stored number as often as it likes.
        room -= size
        if room < 0:
            raise CheckpointError(
                f"{path.name} is damaged: with {name[:80]!r} its arrays have more bytes than the file"
            )
        plain = _WRAPPERS.sub("", name)
        if plain in arrays:
            raise CheckpointError(f"{path.name} holds two arrays named {plain[:80]!r}")
        arrays[plain] = _as_array(value)
    if not arrays:
        raise CheckpointError(f"{path.name} holds no arrays")
    return arrays


def _is_torch(path: Path) -> bool:
    """Return whether `torch.save` has written a file: by what is in it, or by its name."""
    return path.suffix.lower() != ".pkl" or zipfile.is_zipfile(path)


def _why(error: Exception) -> str:
    """Return why a file could not be read, in one line that names what is refused."""
    text = str(error)
    if isinstance(error, OSError):
        return reason(error)
    if own := _REFUSED_HERE.search(text):
        return own[0]
    if named := _REFUSED_BY_TORCH.search(text):
        return f"refused {named[1]}: only arrays and numbers are admitted; save the state dict alone"
    return "it is damaged, or holds something else than arrays"


def _state_dict(content: object, file: str) -> Mapping[Any, object]:
    """Return the dictionary of arrays in what a training program has saved. Raises CheckpointError."""
    for _ in range(_DEEPEST):
        if not isinstance(content, dict):
            break
        inner = next((content[key] for key in _STATE_DICTS if isinstance(content.get(key), dict)), None)
        if inner is None:
            return content
        content = inner
    raise CheckpointError(f"{file} holds no dictionary of arrays")


def _bytes(value: object) -> int | None:
    """Return the bytes of an array of plain numbers in memory, as its shape says, or None for anything else."""
    if isinstance(value, PickledArray):
        return value.array.nbytes if hasattr(value, "array") else None
    if not isinstance(value, Tensor) or value.layout is not torch.strided or value.device.type != "cpu":
        return None
    if value.dtype not in _PLAIN or value.ndim > _MOST_SIDES:
        return None
    return value.numel() * value.element_size()


def _as_array(value: Any) -> Array:
    if isinstance(value, Tensor):
        value = value.detach()
        result: Array = (value.float() if value.is_floating_point() else value).numpy()
        return result
    array: Array = value.array
    return array
