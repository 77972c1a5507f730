"""Memory that two processes share: a file without a name, handed over as a descriptor and mapped as an array.

A mapping is made by the C library's mmap, because Python's own keeps a descriptor open as long as the array lives.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import mmap
import os
import tempfile
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_int64)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def create(size: int) -> int:
    """Return the descriptor of `size` bytes of zeros. Raise OSError if there is no memory or no descriptor left.

    On Linux the size is fixed: the other process cannot cut the file, which would kill whoever reads its mapping.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("picture", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, size)
        if hasattr(os, "memfd_create"):
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write(descriptor: int, data: memoryview, start: int) -> None:
    """Write `data` at `start`. Raise OSError if there is no memory."""
    while data:
        count = os.pwrite(descriptor, data, start)
        data, start = data[count:], start + count


def read(descriptor: int, size: int) -> bytes:
    """Return the first `size` bytes. Raise OSError."""
    data = os.pread(descriptor, size, 0)
    while len(data) < size:  # a read may be shorter than what was asked
        more = os.pread(descriptor, size - len(data), len(data))
        if not more:
            raise OSError("the shared memory is shorter than announced")
        data += more
    return data


def mapped(descriptor: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return an array over the memory, which lives as long as the array. The descriptor may be closed at once.

    Raise OSError if there is no address space left.
    """
    return np.asarray(_Mapping(descriptor, shape))


class _Mapping:
    """A mapping of shared memory that NumPy reads by its array interface; it ends with its last reference."""

    def __init__(self, descriptor: int, shape: tuple[int, ...]) -> None:
        size = math.prod(shape)
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)  # one call instead of a fault a page
        address = _libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, descriptor, 0)
        if address == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self.__array_interface__: dict[str, Any] = {
            "version": 3,
            "typestr": "|u1",
            "shape": shape,
            "data": (address, False),
        }
        weakref.finalize(self, _libc.munmap, address, size).atexit = False
