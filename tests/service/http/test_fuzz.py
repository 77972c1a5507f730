"""Damaged bodies over HTTP: each gets an answer that is no failure of the service, and leaves nothing behind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import httpx
import pytest

from service.http.problem_kinds import KINDS
from tests.service.damage import damaged, seeds
from tests.service.support import PATIENCE, Discs, disc_bundle, get, metrics, running

OCTETS = {"content-type": "application/octet-stream"}
ALLOWED = {
    "corrupt-image",
    "not-an-image",
    "unsupported-format",
    "too-many-pixels",
    "slow-image",
    "empty-body",
}


def memory() -> int:
    """Resident bytes of this process, which the server is a thread of."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def bombard(url: str, count: int, seed: int = 0) -> Counter[str]:
    seen: Counter[str] = Counter()
    with httpx.Client(base_url=url, headers=OCTETS, timeout=PATIENCE) as client:
        for body in damaged(count, seed):
            answered = client.post("/segment", content=body)
            kind = "" if answered.is_success else answered.json()["type"].removeprefix("/problems/")
            assert answered.is_success or (kind in ALLOWED and answered.status_code == KINDS[kind].status), (
                answered.text,
                body[:200],
            )
            seen[kind] += 1
    return seen


def test_the_undamaged_files_are_fine(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        for body in seeds():
            assert httpx.post(f"{url}/segment", content=body, headers=OCTETS, verify=False).is_success


def test_damaged_images_get_an_answer(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        seen = bombard(url, 600)
        assert get(f"{url}/healthz").is_success
    assert seen["corrupt-image"] > 50
    assert seen[""] > 50


@pytest.mark.slow
def test_ten_thousand_damaged_images_leave_nothing_behind(discs: Discs) -> None:
    with running(disc_bundle(discs)) as url:
        bombard(url, 2_000, seed=1)
        before = memory()
        bombard(url, 10_000, seed=2)
        assert memory() - before < 30e6
        assert "pointrend_requests_in_flight 1.0" in metrics(url)
