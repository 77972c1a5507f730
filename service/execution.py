"""How the models of a service run, by its settings and by what the machine has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from export.bundle import Bundle, open_bundle
from export.errors import BundleError
from export.execution import Execution, choose_execution
from service.settings import Settings


def open_bundles(settings: Settings, folders: Sequence[Path]) -> list[Bundle]:
    """Open bundles on the device and in the precision of the settings.

    If the device was left to the machine and its GPU turns out not to work, they are opened on the CPU. Raises
    BundleError, and UserError if what is asked for cannot be had.
    """
    execution = _execution(settings, settings.device)
    try:
        return [open_bundle(folder, execution) for folder in folders]
    except BundleError as error:
        if settings.device != "auto" or execution.device == "cpu":
            raise
        on_cpu = _execution(settings, "cpu")
        on_cpu = replace(on_cpu, notes=(f"device cpu: {error}", *on_cpu.notes))
        return [open_bundle(folder, on_cpu) for folder in folders]


def _execution(settings: Settings, device: Literal["auto", "cpu", "cuda"]) -> Execution:
    return choose_execution(device, settings.precision, settings.thread_budget, settings.spin)
