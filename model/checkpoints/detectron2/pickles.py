"""What the pickles of checkpoints may name, and what stands for it: nothing that a file names is ever called.

Pickles run code when they are loaded. Each admitted name stands for a small substitute in this module, and arrays
are rebuilt from plain bytes. Pickles that `torch.save` writes are loaded by torch itself, which admits its own
tensors and, for numpy, the same substitutes.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

_NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


def read_pickle(path: Path) -> Any:
    """Return the content of a pickle, with `PickledArray` for numpy's arrays and plain numbers for its scalars.

    Raises nearly anything if the file is damaged; UnpicklingError "refused NAME …" if it asks for more than that.
    """
    with path.open("rb") as file:
        return _ArrayUnpickler(file, encoding="latin1").load()  # latin1: Python 2 wrote bytes as text


def read_torch(path: Path) -> Any:
    """Return the content of a file of `torch.save`, with tensors besides; raises nearly anything, too."""
    substitutes: list[Any] = [
        *((stand_in, name) for name, stand_in in _Substitutes().by_name().items()),
        *((kind, f"{__name__}.{kind.__name__}") for kind in (PickledArray, _DType)),
    ]
    with torch.serialization.safe_globals(substitutes):
        # Mapped, not read: optimizer states beside the model would cost twice its memory.
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))


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


class PickledArray:
    """Stands for numpy.ndarray: bytes that become a read-only array."""

    __slots__ = ("array",)
    array: NDArray[Any]  # not there until it is filled

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        self.fill(data, dtype, shape, "F" if is_fortran else "C")

    def fill(
        self, data: bytes | str, dtype: _DType, shape: tuple[int, ...], order: Any = "C"
    ) -> PickledArray:
        raw = data.encode("latin1") if isinstance(data, str) else data
        self.array = np.frombuffer(raw, dtype.dtype).reshape(shape, order=order)
        return self


class _Substitutes:
    """What stands for each admitted name: methods, because a file cannot set attributes on them."""

    def by_name(self) -> dict[str, Any]:
        """Return what stands for the names of numpy, as its versions write them."""
        core = {
            "multiarray._reconstruct": self._reconstruct,
            "multiarray.scalar": self._scalar,
            "numeric._frombuffer": self._frombuffer,
        }
        return {
            "numpy.ndarray": "numpy.ndarray",  # an argument only, never called
            "numpy.dtype": self._dtype,
            **{
                f"numpy.{package}.{name}": method
                for package in ("core", "_core")
                for name, method in core.items()
            },
        }

    def containers(self) -> dict[str, Any]:
        """Return what stands for the other names that pickles of arrays have; torch has its own."""
        return {"collections.OrderedDict": self._mapping, "_codecs.encode": self._encode}

    def _reconstruct(self, *_: object) -> PickledArray:
        return PickledArray()

    def _scalar(self, dtype: _DType, data: bytes | str) -> bool | int | float:
        number: bool | int | float = PickledArray().fill(data, dtype, ()).array.item()
        return number

    def _frombuffer(self, data: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> PickledArray:
        return PickledArray().fill(data, dtype, shape, order)

    def _dtype(self, code: str, *flags: object) -> _DType:
        return _DType(code, *flags)

    def _mapping(self, *items: Any) -> _Mapping:
        return _Mapping(*items)

    def _encode(self, text: str, encoding: str) -> bytes:
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"refused to encode as {encoding!r}")
        return text.encode("latin1")


class _ArrayUnpickler(pickle.Unpickler):
    """Admits numpy arrays and scalars, and the containers that pickles build without any name."""

    def __init__(self, file: BinaryIO, *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        substitutes = _Substitutes()
        self._admitted = substitutes.by_name() | substitutes.containers()

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self._admitted:
            raise pickle.UnpicklingError(f"refused {name}: only arrays and numbers are admitted")
        return self._admitted[name]
