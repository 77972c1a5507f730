"""Reading the reference's files: arrays of every layout arrive, and a pickle can do nothing else."""

from __future__ import annotations

import io
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints.detectron2.arrays import read_arrays
from model.checkpoints.errors import CheckpointError


def write_pickle(path: Path, content: object, protocol: int = 3) -> Path:
    with path.open("wb") as file:
        pickle.dump(content, file, protocol)
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("module", [b"numpy._core", b"numpy.core"])
def test_arrays_of_every_protocol_and_numpy(tmp_path: Path, protocol: int, module: bytes) -> None:
    arrays: dict[str, Any] = {
        "c": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        "big_endian": np.arange(3, dtype=">f4"),
        "half": np.ones((1, 2, 1), np.float16),
        "mask": np.array([True, False]),
        "number": np.float32(2.5),
    }
    data = pickle.dumps(OrderedDict(arrays), protocol)
    if protocol < 4:  # later ones store the length of the name
        data = data.replace(b"numpy._core", module)
    (tmp_path / "a.pkl").write_bytes(data)
    for name, array in read_arrays(tmp_path / "a.pkl").items():
        assert array.dtype == arrays[name].dtype
        assert np.array_equal(array, arrays[name])


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def attacks(marker: Path) -> dict[str, tuple[object, str]]:
    harm = Call(os.system, f"touch {marker}")
    number = np.zeros(1, np.float32)
    multiarray: Any = np.arange(1).__reduce__()[0]
    scalar: Any = np.float32(1).__reduce__()[0]
    return {
        "call": (harm, r"refused (posix|nt)\.system"),
        "eval": (Call(eval, f"open({str(marker)!r}, 'w')"), r"refused (builtins|__builtin__)\.eval"),
        "nested": ({"model": {"a": number, "b": [OrderedDict(x=harm)]}}, r"refused (posix|nt)\.system"),
        "getattr": ({"model": Call(getattr, number, "tofile")}, r"refused (builtins|__builtin__)\.getattr"),
        "objects": ({"model": {"a": np.array([harm], object)}}, "refused an array of type 'O8'"),
        "object scalar": (Call(scalar, np.dtype("O"), b"\0" * 8), "refused an array of type 'O8'"),
        "structure": ({"a": np.zeros(1, [("x", "O")])}, "refused an array of type 'V8'"),
        "subclass": (Call(multiarray, np.matrix, (0,), b"b"), r"refused numpy.*matrix"),
        "function": ({"a": np.save}, r"refused numpy.*save"),
        "tensor": ({"a": torch.zeros(1)}, r"refused torch\._utils\._rebuild_tensor_v2"),
        "path": (Path("x"), r"refused pathlib"),
    }


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize("attack", attacks(Path()))
def test_pickles_that_ask_for_more_than_arrays_are_refused_by_name(
    tmp_path: Path, attack: str, protocol: int
) -> None:
    marker = tmp_path / "harmed"
    content, message = attacks(marker)[attack]
    with pytest.raises(CheckpointError, match=message):
        read_arrays(write_pickle(tmp_path / "bad.pkl", content, protocol))
    assert not marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04\x8c\x16numpy.core.multiarray\x8c\x19_reconstruct.__globals__\x93.",  # a dotted name
        b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01s\x86b.",  # attributes set on a substitute
        b"\x80\x02cnumpy\nndarray\nK\x01\x85R.",  # a call of what is an argument only
        b"\x80\x02cnumpy\ndtype\n)\x81.",  # an instance without its constructor
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
        b"\x80\x02\x82\x01.",  # the extension registry
        b"\x80\x02K\x01Q.",  # a persistent id
        b"",
        b"not a pickle",
        b"\x80\x02K\x01.",  # a number
        b"\x80\x02}X\x01\x00\x00\x00aK\x01s.",  # a dictionary of numbers
        b"\x80\x02}K\x01K\x01s.",
    ],
)
def test_malformed_pickles_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.pkl").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"bad\.pkl"):
        read_arrays(tmp_path / "bad.pkl")


def test_structured_state_on_a_plain_type_is_refused(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.zeros(2, np.float64)}, 2)
    swapped = re.sub(rb"NNNJ", b"NN}J", data, count=1)
    assert swapped != data
    (tmp_path / "bad.pkl").write_bytes(swapped)
    with pytest.raises(CheckpointError, match="structured type"):
        read_arrays(tmp_path / "bad.pkl")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    data = pickle.dumps({"model": {"a": np.zeros((4, 4), np.float32), "b": np.ones(3)}}, 3)
    buffer = io.BytesIO()
    torch.save({"model": {"a": torch.zeros(3)}}, buffer)
    for name, whole in {"cut.pkl": data, "cut.pth": buffer.getvalue()}.items():
        for end in range(0, len(whole), max(1, len(whole) // 50)):
            (tmp_path / name).write_bytes(whole[:end])
            with pytest.raises(CheckpointError, match=name):
                read_arrays(tmp_path / name)


def test_torch_files_are_read_without_running_code(tmp_path: Path) -> None:
    marker = tmp_path / "harmed"
    torch.save({"model": Call(os.system, f"touch {marker}")}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match="bad.pth could not be read"):
        read_arrays(tmp_path / "bad.pth")
    assert not marker.exists()


def test_torch_files_of_either_layout_and_any_float(tmp_path: Path) -> None:
    model = {"w": torch.nn.Parameter(torch.ones(2, 2)), "h": torch.ones(2, dtype=torch.bfloat16)}
    for zipped in (True, False):
        torch.save(model, tmp_path / "m.pth", _use_new_zipfile_serialization=zipped)
        arrays = read_arrays(tmp_path / "m.pth")
        assert {name: (a.shape, a.dtype.name) for name, a in arrays.items()} == {
            "w": ((2, 2), "float32"),
            "h": ((2,), "float32"),
        }


def rebuilt(size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> Any:
    """A tensor of 6 stored numbers that pickles with this size, stride and offset."""

    class Absurd(torch.nn.Parameter):
        def __reduce_ex__(self, protocol: Any) -> Any:
            storage = torch.storage.TypedStorage(
                wrap_storage=self.untyped_storage(), dtype=self.dtype, _internal=True
            )
            return torch._utils._rebuild_tensor_v2, (storage, offset, size, stride, False, OrderedDict())

    return Absurd(torch.ones(6))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "absurd",
    [
        ((10**15,), (0,)),
        ((10**9, 10**6), (0, 0)),
        ((2**31, 2**31), (0, 0)),
        ((10**15,), (1,)),
        ((6,), (-1,)),
        ((6,), (1,), 10**15),
        ((6,), (1,), -1),
        ((-6,), (1,)),
        ((2**62, 2**62), (1, 1)),
        ((1,) * 100, (1,) * 100),
        ((3000,), (0,)),
    ],
)
def test_shapes_that_the_file_does_not_hold_are_one_line(
    tmp_path: Path, absurd: tuple[Any, ...], zipped: bool
) -> None:
    path = tmp_path / "absurd.pth"
    torch.save({"model": {"w": rebuilt(*absurd)}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as refusal:
        read_arrays(path)
    assert str(refusal.value).startswith("absurd.pth ") and "\n" not in str(refusal.value)


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_one_array_under_a_thousand_names_is_refused_but_shared_ones_are_read(
    tmp_path: Path, suffix: str
) -> None:
    """Each name would be copied. Two names for one array are usual."""

    def write(names: int) -> Path:
        path = tmp_path / f"many{suffix}"
        array = np.zeros(100_000, np.float32)
        one: Any = array if suffix == ".pkl" else torch.from_numpy(array)
        content = {f"w{i}": one for i in range(names)}
        if suffix == ".pkl":
            return write_pickle(path, content)
        torch.save(content, path)
        return path

    assert len(read_arrays(write(2))) == 2
    with pytest.raises(CheckpointError, match="its arrays have more bytes than the file"):
        read_arrays(write(1000))


def test_tensors_without_plain_numbers_in_memory_are_refused(tmp_path: Path) -> None:
    kinds = {
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(10**15, device="meta"),
        "complex": torch.zeros(2, dtype=torch.complex64),
    }
    for kind, tensor in kinds.items():
        torch.save({kind: tensor}, tmp_path / "other.pth")
        with pytest.raises(CheckpointError, match=r"other\.pth (holds|could not be read)"):
            read_arrays(tmp_path / "other.pth")
