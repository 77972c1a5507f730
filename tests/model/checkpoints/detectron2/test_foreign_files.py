"""What training programs write beside and around the weights is read over, or named in one line."""

from __future__ import annotations

import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.checkpoints.detectron2.arrays import read_arrays
from model.checkpoints.errors import CheckpointError
from tests.model.command import run

WEIGHT = torch.arange(6.0).reshape(2, 3)


def stored(path: Path, content: object, *, zipped: bool = True) -> Path:
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content, 2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_numbers_and_arrays_of_numpy_beside_the_weights(zipped: bool, tmp_path: Path) -> None:
    beside = {
        "best": np.float64(0.5),
        "epoch": np.int64(3),
        "done": np.bool_(True),
        "history": np.arange(5.0),
        "half": np.zeros((2, 2), np.float16),
        "rng": ("MT19937", np.arange(4, dtype=np.uint32), 7),
    }
    content = {"model": {"a.weight": WEIGHT}, **beside}
    arrays = read_arrays(stored(tmp_path / "a.pth", content, zipped=zipped))
    assert list(arrays) == ["a.weight"] and np.array_equal(arrays["a.weight"], WEIGHT)
    flat = {
        "a.weight": WEIGHT,
        "a.mean": np.arange(5.0),
        "best": np.float64(0.5),
        "epoch": 3,
        "name": "x",
        "none": None,
    }
    arrays = read_arrays(stored(tmp_path / "b.pth", flat, zipped=zipped))
    assert list(arrays) == ["a.weight", "a.mean"] and np.array_equal(arrays["a.mean"], np.arange(5.0))


@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
@pytest.mark.parametrize(
    ("keys", "prefix"),
    [
        ((), ""),
        (("model",), "module."),
        (("state_dict",), "model."),
        (("state_dict", "state_dict"), "module.model."),
        (("model", "state_dict"), "_orig_mod."),
        (("module",), "module._orig_mod.module."),
        (("model_state_dict",), "model._orig_mod."),
        (("net",), ""),
    ],
)
def test_state_dicts_in_dictionaries_and_names_in_wrappers(
    keys: tuple[str, ...], prefix: str, suffix: str, tmp_path: Path
) -> None:
    value: Any = WEIGHT if suffix == ".pth" else WEIGHT.numpy()
    content: Any = OrderedDict({f"{prefix}backbone.fc.weight": value, f"{prefix}backbone._orig_mod.b": value})
    for key in reversed(keys):
        content = {key: content, "epoch": 7, "optimizer": {"state": {}}}
    assert list(read_arrays(stored(tmp_path / f"a{suffix}", content))) == ["backbone.fc.weight", "backbone.b"]


def test_a_file_of_torch_may_be_called_otherwise(tmp_path: Path) -> None:
    stored(tmp_path / "a.pth", {"w": WEIGHT}).rename(tmp_path / "a.pkl")
    assert list(read_arrays(tmp_path / "a.pkl")) == ["w"]


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def test_what_is_refused_is_named_in_one_line_and_never_called(tmp_path: Path) -> None:
    marker = tmp_path / "harmed"
    objects = np.array([Call(os.system, f"touch {marker}")], object)
    scalar: Any = np.float32(1).__reduce__()[0]
    multiarray: Any = np.arange(1).__reduce__()[0]
    refused: dict[str, object] = {
        "refused argparse.Namespace: only arrays and numbers": argparse.Namespace(lr=1),
        "refused posix.system: only arrays and numbers": Call(os.system, f"touch {marker}"),
        "refused eval: only arrays and numbers": Call(eval, f"open({str(marker)!r}, 'w')"),
        "refused an array of type 'O8': only numbers": np.dtype("O"),
        "refused an array of type 'O8': only": objects,
        "refused an array of type 'V8'": np.zeros(1, [("x", "O")]),
        "refused an array of type 'O8'": Call(scalar, np.dtype("O"), b"\0" * 8),
        "refused numpy.matrix: only arrays": Call(multiarray, np.matrix, (0,), b"b"),
        "refused numpy.save": np.save,
    }
    for says, culprit in refused.items():
        for zipped in (True, False):
            path = stored(tmp_path / "bad.pth", {"model": {"w": WEIGHT}, "args": culprit}, zipped=zipped)
            with pytest.raises(CheckpointError) as raised:
                read_arrays(path)
            message = str(raised.value)
            assert message.startswith(f"bad.pth could not be read: {says}"), message
            assert "\n" not in message and "\x1b" not in message
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore")  # torch is about to give up quantised tensors
@pytest.mark.parametrize("kind", ["sparse", "quantised", "meta", "list", "complex"])
def test_a_value_that_is_no_array_is_named(kind: str, tmp_path: Path) -> None:
    values: dict[str, object] = {
        "sparse": torch.eye(2).to_sparse(),
        "quantised": torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8),
        "meta": torch.ones(2, device="meta"),
        "list": [WEIGHT],
        "complex": torch.ones(2, dtype=torch.complex64),
    }
    with pytest.raises(CheckpointError, match=r"^a\.pth holds 'odd', which is no array$"):
        read_arrays(stored(tmp_path / "a.pth", {"w": WEIGHT, "odd": values[kind]}))


def test_two_arrays_of_one_name_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.pth", {"w.b": WEIGHT, "module.w.b": WEIGHT})
    with pytest.raises(CheckpointError, match=r"a\.pth holds two arrays named 'w\.b'"):
        read_arrays(path)


def test_a_dictionary_in_itself_has_an_end(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["model"] = endless
    with pytest.raises(CheckpointError, match=r"a\.pkl holds no dictionary of arrays"):
        read_arrays(stored(tmp_path / "a.pkl", endless))


@pytest.mark.parametrize("name", ["a.pth", "a.pkl"])
def test_a_damaged_file_is_called_so(name: str, tmp_path: Path) -> None:
    for content in (b"", b"no checkpoint", b"PK\x03\x04 cut off"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError) as raised:
            read_arrays(tmp_path / name)
        assert str(raised.value) == (
            f"{name} could not be read: it is damaged, or holds something else than arrays"
        )
    with pytest.raises(CheckpointError) as raised:
        read_arrays(tmp_path / f"none-{name}")
    assert str(raised.value) == f"none-{name} could not be read: no such file or directory"


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    path = stored(tmp_path / "a.pth", {"state_dict": {"w": WEIGHT}, "args": argparse.Namespace()})
    given = ("--checkpoint", path, "--preset", "people", "--data", path, "--images", tmp_path)
    assert run("evaluate", *given).error == (
        "error: a.pth could not be read: refused argparse.Namespace: only arrays and numbers are admitted; "
        "save the state dict alone"
    )
