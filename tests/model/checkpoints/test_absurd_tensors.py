"""Native files that promise tensors which no machine has are one line, whatever their header says."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from model.checkpoints.checkpoint import FORMAT, load
from model.checkpoints.errors import CheckpointError

METADATA = {"format": FORMAT, "version": "1"}


def written(path: Path, tensors: dict[str, Any], data: bytes = b"\0" * 24, length: int | None = None) -> Path:
    """A safetensors file of this header; `length` is what it says of the header's size."""
    header = json.dumps({"__metadata__": METADATA, **tensors}).encode()
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + data)
    return path


def tensor(shape: list[Any], end: Any = 24, begin: Any = 0, dtype: str = "F32") -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}}


@pytest.mark.parametrize(
    "tensors",
    [
        tensor([10**15]),
        tensor([10**15], 4 * 10**15),
        tensor([2**32, 2**32]),
        tensor([2**62, 4], 0),
        tensor([-6]),
        tensor([6], 24, -24),
        tensor([6], 2**63),
        tensor([6.5]),
        tensor([3, 2], 20),
        tensor([6], dtype="F1"),
        tensor([3], 12) | {"v": tensor([3], 20, 8)["w"]},  # they overlap
    ],
)
def test_absurd_headers_are_one_line(tmp_path: Path, tensors: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError) as refusal:
        load(written(tmp_path / "c.safetensors", tensors))
    assert str(refusal.value).startswith("c.safetensors ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("length", [0, 1, 2**20, 2**40, 2**63, 2**64 - 1])
def test_absurd_lengths_of_a_header_are_one_line(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError) as refusal:
        load(written(tmp_path / "c.safetensors", tensor([6]), length=length))
    assert "\n" not in str(refusal.value)
