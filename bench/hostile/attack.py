"""The attacks, and what other clients see of a service while one goes on."""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.hostile import load_attacks, pictures_attacks, protocol_attacks
from bench.hostile.cage import peak
from bench.hostile.probe import Sample
from bench.hostile.target import AttackedService, attacked

MEMORY = 4 << 30  # bytes, as in docker-compose.yml
ALONE_SECONDS = 6.0  # other clients before the attack


@dataclass(frozen=True)
class Attack:
    """What is sent, and to what kind of service."""

    name: str
    run: Callable[[AttackedService, float, bytes], Coroutine[Any, Any, str]]
    files: int | None = None  # that the service may have open
    settings: Mapping[str, object] = field(default_factory=dict)
    others: int = 1  # other clients with small requests


_BOUND = {"queue_seconds": 4}
ATTACKS = (
    Attack("webp", pictures_attacks.webp_bombs),
    Attack("tiff", pictures_attacks.tiff_strips),
    Attack("parts", pictures_attacks.parts),
    Attack("chunks", protocol_attacks.small_chunks),
    Attack("charset", protocol_attacks.form_charset),
    Attack("leavers", pictures_attacks.leavers, others=4),
    Attack("png", pictures_attacks.small_pngs),
    Attack("polygons", pictures_attacks.polygons),
    Attack("idle", protocol_attacks.idle_sockets, files=64),
    Attack("models", load_attacks.two_models, settings=_BOUND),
    Attack("huge", pictures_attacks.huge_requests, settings=_BOUND),
    Attack("slow", protocol_attacks.slow_bodies),
    Attack("parameters", protocol_attacks.parameters),
    Attack("promises", load_attacks.promises, settings=_BOUND),
)


@dataclass(frozen=True)
class Harm:
    """What an attack did, and what other clients saw of it."""

    name: str
    alive: bool
    kills: int  # processes that the system killed for want of memory
    peak: int  # bytes
    alone: float  # median seconds of a small request before the attack
    meanwhile: (
        float  # and during it, waits for Retry-After included; one without a good answer counts as endless
    )
    health: float  # longest seconds of /healthz during the attack
    refused: int  # attempts of small requests that were refused
    failed: int  # small requests without a good answer in the end
    goodput: float  # small answers a second during the attack, by those before it
    report: str

    @property
    def ratio(self) -> float:
        """How many times longer a small request takes than alone."""
        return self.meanwhile / self.alone


def measure(
    attack: Attack, bundles: Sequence[Path], picture: Path, seconds: float, code: Path | None = None
) -> Harm:
    """Attack a service of its own for some seconds, and return what came of it."""
    content = picture.read_bytes()
    with attacked(bundles, MEMORY, attack.files, attack.settings, code) as target, peak(target.used) as most:
        samples: list[Sample] = []
        with _probing(target, picture, attack.others, samples):
            time.sleep(ALONE_SECONDS)
            begin = time.monotonic()
            report = asyncio.run(attack.run(target, seconds, content))
            end = time.monotonic()
        time.sleep(1)
        return _harm(attack.name, target, most(), samples, (begin, end), report)


@contextmanager
def _probing(target: AttackedService, picture: Path, clients: int, samples: list[Sample]) -> Iterator[None]:
    """Let other clients go on while the context is open. Their samples are in the list afterwards."""
    command = [sys.executable, "-m", "bench.hostile.probe", target.address.host, str(target.address.port)]
    probe = subprocess.Popen(
        [*command, str(picture), str(clients)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield
        output, _ = probe.communicate(timeout=60)
        samples += [Sample(**each) for each in json.loads(output)]
    finally:
        probe.kill()
        probe.wait()


def _harm(
    name: str,
    target: AttackedService,
    most: int,
    samples: Sequence[Sample],
    window: tuple[float, float],
    report: str,
) -> Harm:
    begin, end = window
    small = [sample for sample in samples if sample.kind == "small"]
    before = [sample for sample in small if sample.begin + sample.seconds < begin and sample.status == 200]
    during = [sample for sample in small if begin <= sample.begin < end]
    good = [
        sample for sample in small if begin <= sample.begin + sample.seconds < end and sample.status == 200
    ]
    health = [s for s in samples if s.kind == "health" and begin <= s.begin < end]
    endless = [sample.seconds if sample.status == 200 else math.inf for sample in during]
    rate = len(before) / ALONE_SECONDS
    return Harm(
        name=name,
        alive=target.alive,
        kills=target.cage.kills(),
        peak=most,
        alone=statistics.median(sample.seconds for sample in before) if before else math.inf,
        meanwhile=statistics.median_low(endless) if endless else math.inf,
        health=max((s.seconds if s.status == 200 else math.inf for s in health), default=math.inf),
        refused=sum(sample.refusals for sample in during),
        failed=sum(sample.status != 200 for sample in during),
        goodput=len(good) / (end - begin) / rate if rate else 0.0,
        report=report,
    )
