"""On which device a service opens its bundles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from export.bundle import Bundle
from export.errors import BundleError
from export.execution import Execution
from service import execution
from service.execution import open_bundles
from tests.service.support import settings


def opening(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Execution], bool]) -> list[Execution]:
    """Pretend that there is a GPU; bundles cannot be opened where `fails`. Return how it was tried."""
    tried = []

    def choose(device: str, precision: str, threads: int, spin: bool) -> Execution:
        chosen = "cuda" if device == "auto" else device
        return Execution(chosen, threads, notes=(f"device {chosen}: so it was chosen",))  # type: ignore[arg-type]

    def opened(folder: Path, asked: Execution) -> Bundle:
        tried.append(asked)
        if fails(asked):
            raise BundleError("a library of CUDA is missing")
        return Bundle(None, None, (), asked)  # type: ignore[arg-type]

    monkeypatch.setattr(execution, "choose_execution", choose)
    monkeypatch.setattr(execution, "open_bundle", opened)
    return tried


def test_a_gpu_that_does_not_work_is_left_if_any_device_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    opening(monkeypatch, lambda asked: asked.device == "cuda")
    (bundle,) = open_bundles(settings(device="auto"), [Path("a")])
    assert bundle.execution.device == "cpu"
    assert bundle.execution.notes[0] == "device cpu: a library of CUDA is missing"


def test_a_device_that_was_asked_for_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = opening(monkeypatch, lambda asked: True)
    with pytest.raises(BundleError, match="library of CUDA"):
        open_bundles(settings(device="cuda"), [Path("a")])
    assert [each.device for each in tried] == ["cuda"]


def test_a_bundle_that_opens_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    opening(monkeypatch, lambda asked: True)
    with pytest.raises(BundleError):
        open_bundles(settings(device="auto"), [Path("a")])
