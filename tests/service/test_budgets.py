"""Budgets follow from the memory, fit into it, and are refused in one line where settings contradict each other."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from model.errors import UserError
from service.budgets import PROCESS, SHARES, USED, Budgets, describe, plan
from service.settings import Settings

GIB = 1 << 30
PEAK = 3_250_000_000  # bytes that a container of 4 GiB may reach
WEBP_OF_64_MEGAPIXELS = 1_060_000_000  # bytes to decode it, as model/predict/forecast.py foresees


def refused(memory: int, **changes: object) -> str:
    with pytest.raises(UserError) as refusal:
        plan(Settings(**changes), memory)  # type: ignore[arg-type]
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_shares_are_the_whole() -> None:
    assert sum(SHARES.values()) == pytest.approx(1)


@pytest.mark.parametrize("gib", [2, 3, 4, 8, 16, 64])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_default_budgets_and_the_process_leave_a_quarter_of_the_memory(gib: int, device: str) -> None:
    if (device, gib) == ("cuda", 2):
        return  # too small, see below
    budgets = plan(Settings(device=device), gib * GIB)  # type: ignore[arg-type]
    memory, *parts = astuple(budgets)
    assert memory == gib * GIB
    assert PROCESS[device] + sum(parts) == pytest.approx(USED * memory, abs=4)
    assert budgets.decode > budgets.render == budgets.encode > budgets.held >= 25_000_000


def test_four_gigabytes_hold_several_large_pictures_and_stay_below_three() -> None:
    _, held, decode, render, encode, keep = astuple(plan(Settings(), 4 * GIB))
    assert decode >= WEBP_OF_64_MEGAPIXELS and render >= 390_000_000 and encode >= 390_000_000
    assert held >= 10 * 25_000_000
    assert PROCESS["cpu"] + held + decode + render + encode + keep < PEAK


def test_what_is_set_wins_and_changes_nothing_else() -> None:
    usual = plan(Settings(), 4 * GIB)
    own = plan(Settings(decode_bytes=900_000_000, held_bytes=30_000_000), 4 * GIB)
    assert (own.decode, own.held) == (900_000_000, 30_000_000)
    assert (own.render, own.encode) == (usual.render, usual.encode)
    assert plan(Settings(memory_bytes=4 * GIB), 64 * GIB) == usual


def test_a_machine_that_is_too_small_is_told_what_would_do() -> None:
    line = refused(GIB)
    assert line == (
        "memory_bytes: 1.07 GB is too little: with these settings, among them max_body_bytes 25 MB, "
        "it must be at least 1.73 GB"
    )
    plan(Settings(), 1_733_400_000)
    assert "at least 3.07 GB" in refused(2 * GIB, device="cuda")
    assert "at least 1.73 GB" in refused(GIB, held_bytes=25_000_000)
    assert refused(GIB, max_body_bytes=1000).endswith("it must be at least 1.73 GB")


def test_pictures_are_kept_in_memory_that_the_others_do_not_have() -> None:
    usual, without = plan(Settings(), 4 * GIB), plan(Settings(keep_bytes=0), 4 * GIB)
    assert (usual.keep, without.keep) == (100_000_000, 0)
    assert without.decode - usual.decode == 50_000_000
    assert "at least 1.6 GB" in refused(GIB, keep_bytes=0)
    assert "too little" in refused(4 * GIB, keep_bytes=4_000_000_000)


def test_budgets_that_do_not_fit_into_the_memory_are_refused_with_what_fits() -> None:
    line = refused(4 * GIB, decode_bytes=3_000_000_000)
    assert line == (
        "the budgets (held 265 MB, decode 3 GB, render 398 MB, encode 398 MB, keep 100 MB) and the process itself "
        "(1 GB) do not fit into 4.29 GB: decode_bytes may be at most 2.13 GB with the others as they are"
    )
    plan(Settings(decode_bytes=2_130_000_000), 4 * GIB)
    all_set = {f"{name}_bytes": 1_500_000_000 for name in SHARES}
    assert "held, decode, render and encode may have 3.19 GB together" in refused(4 * GIB, **all_set)
    assert plan(Settings(**all_set), 8 * GIB).held == 1_500_000_000  # type: ignore[arg-type]


def test_a_budget_that_holds_no_body_or_no_picture_is_refused() -> None:
    line = refused(4 * GIB, held_bytes=10_000_000)
    assert line == "held_bytes: 10 MB is too little: it must be at least 25 MB, which is max_body_bytes"
    assert plan(Settings(held_bytes=10_000_000, max_body_bytes=10_000_000), 4 * GIB).held == 10_000_000
    assert (
        refused(4 * GIB, decode_bytes=500)
        == "decode_bytes: 500 bytes is too little: it must be at least 50 MB"
    )


def test_more_memory_than_there_is_cannot_be_promised() -> None:
    assert (
        refused(4 * GIB, memory_bytes=8 * GIB)
        == "memory_bytes: 8.59 GB is more than the 4.29 GB that are there"
    )


def test_one_line_tells_how_the_memory_is_divided() -> None:
    budgets = Budgets(4_000_000_000, 300_000_000, 1_234_000_000, 500_000_000, 999_500, 0)
    assert describe(budgets) == (
        "memory 4 GB: up to 300 MB for bodies, 1.23 GB for decoding, 500 MB for masks, 1 MB for answers, "
        "0 bytes for kept pictures"
    )
