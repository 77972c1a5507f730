"""Read the files of the reference implementation's (detectron2's) checkpoints as arrays, without running their code.

Pickles run code when they are loaded. The unpickler here never calls anything that a file names: each admitted
name stands for a small substitute in this module, and the arrays are rebuilt from plain bytes.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.checkpoints.errors import CheckpointError

Array = NDArray[Any]

_NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Return the arrays of a `.pkl` (numpy) or `.pth` (torch) file by name, from under "model" or the top.

    Raises CheckpointError if the file is damaged, asks for anything but arrays, or holds something else.
    """
    path = Path(path)
    try:
        content = _read_torch(path) if path.suffix.lower() == ".pth" else _read_pickle(path)
    except Exception as error:  # a damaged pickle raises nearly anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path.name} could not be read: {reason}") from error
    model = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise CheckpointError(f"{path.name} holds no dictionary of arrays")
    arrays: dict[str, Array] = {}
    for name, value in model.items():
        array = _as_array(value)
        if not isinstance(name, str) or array is None:
            raise CheckpointError(f"{path.name} holds {name!r}, which is no array")
        arrays[name] = array
    return arrays


def _as_array(value: object) -> Array | None:
    if isinstance(value, Tensor):
        result: Array = (value.detach().float() if value.is_floating_point() else value).numpy()
        return result
    return value.array if isinstance(value, _Array) else None


def _read_torch(path: Path) -> Any:
    # Mapped, not read: optimizer states beside the model would cost twice its memory.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


def _read_pickle(path: Path) -> Any:
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()  # latin1: Python 2 wrote bytes as text


class _Mapping(dict[Any, Any]):
    """Stands for OrderedDict; attributes set on it (such as a state dict's versions) are left out."""

    def __setstate__(self, state: object) -> None:
        pass


class _DType:
    """Stands for numpy.dtype: plain numbers only, so that no array can hold objects."""

    __slots__ = ("dtype",)

    def __init__(self, code: str, *flags: object) -> None:
        if not _NUMBER.fullmatch(code):
            raise pickle.UnpicklingError(f"refused an array of type {code!r}: only numbers are admitted")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, order, *structure = state
        if order not in ("<", ">", "|", "=") or structure[:3] != [None, None, None]:
            raise pickle.UnpicklingError("refused an array of a structured type: only numbers are admitted")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for numpy.ndarray: bytes that become a read-only array."""

    __slots__ = ("array",)

    def __init__(self) -> None:
        self.array: Array | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, "F" if is_fortran else "C")

    def fill(self, data: bytes | str, dtype: _DType, shape: tuple[int, ...], order: Any = "C") -> _Array:
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.array = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
        return self


class _ArrayUnpickler(pickle.Unpickler):
    """Admits numpy arrays and scalars, and the containers that pickles build without any name.

    Substitutes are bound methods: unlike classes and functions, a file cannot set attributes on them.
    """

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}".replace("numpy._core.", "numpy.core.", 1)
        substitutes = {
            "numpy.core.multiarray._reconstruct": self._reconstruct,
            "numpy.core.multiarray.scalar": self._scalar,
            "numpy.core.numeric._frombuffer": self._frombuffer,
            "numpy.ndarray": "numpy.ndarray",  # an argument only, never called
            "numpy.dtype": self._dtype,
            "collections.OrderedDict": self._mapping,
            "_codecs.encode": self._encode,
        }
        if name not in substitutes:
            raise pickle.UnpicklingError(f"refused {module_name}.{global_name}: only arrays are admitted")
        return substitutes[name]

    def _reconstruct(self, *_: object) -> _Array:
        return _Array()

    def _scalar(self, dtype: _DType, data: bytes | str) -> _Array:
        return _Array().fill(data, dtype, ())

    def _frombuffer(self, data: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
        return _Array().fill(data, dtype, shape, order)

    def _dtype(self, code: str, *flags: object) -> _DType:
        return _DType(code, *flags)

    def _mapping(self, *items: Any) -> _Mapping:
        return _Mapping(*items)

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"refused to encode as {encoding!r}")
        return text.encode("latin1")
