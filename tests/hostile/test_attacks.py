"""Attacks on a real server under 4 GB: it lives, and others hardly notice. `python -m bench.hostile` runs the same.

Each attack has a server of its own, which takes most of a minute. The limits are those that docs/security.md names.
"""

from __future__ import annotations

import os
import re

import pytest

from bench.hostile.__main__ import BUNDLES, PICTURE
from bench.hostile.attack import ATTACKS, Attack, Harm, measure
from tests.paths import ROOT

SECONDS = 15.0
MOST_MEMORY = 3_000_000_000  # bytes
MOST_TIMES = 3.0  # of a small request alone
HEALTH_SECONDS = 1.0
BOUND_SECONDS = 4.0  # of the queue where the attack is many honest clients
# Many honest clients share the device with the others, so only the queue's bound holds for these.
CROWDS = ("models", "promises")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all((ROOT / bundle / "bundle.json").exists() for bundle in BUNDLES),
        reason="there are no bundles: make setup",
    ),
]


def harm_of(name: str) -> Harm:
    attack: Attack = next(each for each in ATTACKS if each.name == name)
    os.chdir(ROOT)
    harm = measure(attack, [ROOT / bundle for bundle in BUNDLES], ROOT / PICTURE, SECONDS)
    print(harm)
    return harm


@pytest.mark.parametrize("name", [attack.name for attack in ATTACKS if attack.name not in CROWDS])
def test_an_attack_neither_ends_the_service_nor_starves_the_others(name: str) -> None:
    harm = harm_of(name)
    assert harm.alive and not harm.kills
    assert harm.peak < MOST_MEMORY
    assert harm.failed == 0
    assert harm.health <= HEALTH_SECONDS
    if name == "leavers":
        assert harm.goodput >= 0.9
    else:
        assert harm.ratio <= MOST_TIMES
    if name == "idle":
        grown = re.search(r"log grew by ([\d.]+) MB", harm.report)
        assert grown and float(grown[1]) < 1
    if name == "parameters":
        largest = re.search(r"largest answer ([\d.]+) kB", harm.report)
        assert largest and float(largest[1]) < 10


def test_two_models_share_one_bound() -> None:
    harm = harm_of("models")
    waits = [float(found) for found in re.findall(r"p99 ([\d.]+) s", harm.report)]
    assert len(waits) == 2 and max(waits) <= 1.25 * BOUND_SECONDS
    assert harm.alive and harm.health <= HEALTH_SECONDS and harm.peak < MOST_MEMORY


def test_clients_that_wait_as_long_as_they_are_told_get_in() -> None:
    harm = harm_of("promises")
    found = re.search(r"(\d+) of (\d+) got in when promised", harm.report)
    assert found and int(found[1]) >= 0.9 * int(found[2])
    assert harm.alive and harm.health <= HEALTH_SECONDS and harm.peak < MOST_MEMORY
