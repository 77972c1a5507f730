"""Too many honest clients: how long each waits, and whether Retry-After can be relied on."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

import numpy as np

from bench.hostile.pictures_attacks import Report, told
from bench.hostile.target import AttackedService
from bench.hostile.wire import WireAnswer, ask

CLIENTS = 64


async def two_models(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Let 64 clients ask two models in turn, wait for Retry-After where they are refused, and tell each model's p99."""
    by_model: dict[str, list[WireAnswer]] = defaultdict(list)
    end = time.monotonic() + seconds

    async def loop(number: int) -> None:
        model = ("people", "street")[number % 2]
        while time.monotonic() < end:
            answer = await ask(target.address, f"/segment?model={model}", picture, "image/jpeg")
            by_model[model].append(answer)
            if answer.status != 200:
                await asyncio.sleep(float(answer.headers.get("retry-after", 1)))

    await asyncio.gather(*(loop(number) for number in range(CLIENTS)))
    parts = []
    for model, answers in sorted(by_model.items()):
        good = [answer.seconds for answer in answers if answer.status == 200]
        p99 = f"{np.percentile(good, 99):.1f}" if good else "none"
        parts.append(f"{model} p99 {p99} s of {len(good)}")
    return "; ".join(parts) + "; " + told([answer for each in by_model.values() for answer in each])


async def promises(target: AttackedService, seconds: float, picture: bytes) -> Report:
    """Let 64 clients come at once, come again exactly when Retry-After says so, and tell how often they have to."""
    waits: list[float] = []

    async def client() -> int:
        """Return the number of refusals before the answer; -1: it never came."""
        end = time.monotonic() + 4 * seconds
        refusals = 0
        while time.monotonic() < end:
            answer = await ask(target.address, "/segment", picture, "image/jpeg")
            if answer.status == 200:
                return refusals
            refusals += 1
            waits.append(float(answer.headers.get("retry-after", 1)))
            await asyncio.sleep(waits[-1])
        return -1

    refusals = await asyncio.gather(*(client() for _ in range(CLIENTS)))
    kinds = sorted(set(waits))
    shown = f"{kinds[0]:.0f} to {kinds[-1]:.0f} s ({len(kinds)} different)" if kinds else "none"
    kept = sum(0 <= count <= 1 for count in refusals)
    return f"Retry-After {shown}; {kept} of {CLIENTS} got in when promised, the worst came {max(refusals) + 1} times"
