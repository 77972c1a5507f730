"""The parts of the load bench: answers are counted correctly, and differences between answers are found."""

from __future__ import annotations

import base64
import json
import math
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from bench.load import report, workload
from bench.load.burst import sent_at_once
from bench.load.driver import (
    PlannedRequest,
    Run,
    TimedAnswer,
    arriving,
    closed,
    cpu_seconds,
    each,
    engine_seconds,
    joined,
    resident,
)
from bench.load.tables import tables
from model.masks import rle
from model.masks.paste import Crop
from tests.service.support import Discs, disc_bundle, encoded, picture, running, wait_for

PNG = (("content-type", "image/png"),)


@pytest.fixture
def discs() -> Discs:
    found = Discs()
    found.gate.set()
    return found


def open_after_refusals(discs: Discs, url: str, count: int) -> None:
    """Let requests pass once the server has refused some."""

    def refused() -> bool:
        page = httpx.get(f"{url}/metrics").text
        return f'pointrend_rejected_total{{problem="queue-full"}} {count}.0' in page

    try:
        wait_for(refused)
    finally:
        discs.gate.set()


def test_closed_loops_count_every_outcome(discs: Discs) -> None:
    good = PlannedRequest("/segment", encoded(picture()), PNG)
    bad = replace(good, body=b"no image")
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success)
        run = closed(url, [good, bad], 2, 0.5, keep=True)
        assert run.count("ok") >= 1
        assert abs(run.count("ok") - run.count("failed")) <= 2
        assert {a.outcome for a in run.answers} == {"ok", "failed"}
        assert len(json.loads(next(a.body for a in run.answers if a.outcome == "ok"))["instances"]) == 2
        assert 0 < run.latency(50) <= run.latency(99) < run.seconds
        discs.gate.clear()
        left = closed(url, [replace(good, leaves_after=0.05)], 1, 0.1)
        discs.gate.set()
    assert {a.outcome for a in left.answers} == {"left"}


def test_refused_clients_wait_for_retry_after(discs: Discs) -> None:
    """A client that did not wait would send hundreds of requests a second."""
    with running(disc_bundle(discs), queue_length=1) as url:
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success)
        discs.gate.clear()
        opening = threading.Thread(target=open_after_refusals, args=(discs, url, 2))
        opening.start()
        run = closed(url, [PlannedRequest("/segment", encoded(picture()), PNG)], 3, 1.2)
        opening.join()
    assert run.count("ok") >= 1
    # Retry-After is at least a second, so a client is refused three times at most: at 0, after 1.0 and after 1.2 s.
    assert 2 <= run.count("refused") <= 9
    assert {a.note.isdecimal() for a in run.answers if a.outcome == "refused"} == {True}


def test_alone_every_request_has_its_answer(discs: Discs) -> None:
    good = PlannedRequest("/segment", encoded(picture()), PNG)
    other = replace(good, query=(("score", 0.7),))
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success)
        found = each(url, [good, other])
        assert [len(json.loads(found[request])["instances"]) for request in (good, other)] == [2, 1]
        with pytest.raises(RuntimeError, match="alone is failed"):
            each(url, [good, replace(good, body=b"no image")])
        run = closed(url, [good], 1, 0.2)
    added = report.beyond(run)
    assert 0 < added["median"] <= added["p95"] < run.seconds
    assert added["share"] > 0


def test_the_engines_part_of_an_answer() -> None:
    header = "decode;dur=1.50, queue;dur=7.00, coarse;dur=20.00, refine;dur=30.00, encode;dur=0.50, total;dur=59.00"
    assert engine_seconds(header) == pytest.approx(0.052)
    assert math.isnan(engine_seconds(""))
    assert math.isnan(engine_seconds("cache;desc=hit, decode;dur=1"))
    request = PlannedRequest("/segment", b"", ())
    answers = [TimedAnswer(request, "ok", 0.0, 0.1 * n + 0.01 * n, engine=0.1 * n) for n in (1, 2, 3)]
    found = report.beyond(Run((*answers, TimedAnswer(request, "failed", 0.0, 9.0)), 1.0))
    assert found == pytest.approx({"median": 0.02, "p95": 0.029, "share": 0.1, "share_p95": 0.1})


def test_arrivals_keep_their_rate_and_refusals_are_counted(discs: Discs) -> None:
    with running(disc_bundle(discs), queue_length=1) as url:
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success)
        run = arriving(url, [PlannedRequest("/segment", encoded(picture()), PNG)], rate=100, seconds=0.5)
    assert len(run.answers) == 50
    assert run.count("ok") + run.count("refused") == 50
    assert run.seconds > 0.2  # the clients do not send ahead of their time


@pytest.mark.parametrize("concurrency", [2, 12])
def test_a_burst_is_answered_with_few_or_all_in_flight(discs: Discs, concurrency: int) -> None:
    with running(disc_bundle(discs)) as url:
        wait_for(lambda: httpx.get(f"{url}/readyz").is_success)
        found = sent_at_once(url, encoded(picture()), 12, concurrency)
        lost = sent_at_once(url, b"no image", 3, concurrency)
    assert found["outcomes"] == {"answered": 12} and found["refused"] == 0
    assert 0 < found["median"] <= found["seconds"]
    ((message, count),) = lost["outcomes"].items()
    assert count == 3 and message.startswith("400: ") and lost["median"] is None


def test_a_third_of_the_clients_leave() -> None:
    requests = [PlannedRequest("/segment", bytes([i]), ()) for i in range(4)]
    found = workload.leaving(requests, 0.3)
    assert len(found) == 12
    assert Counter(r.leaves_after for r in found) == {None: 8, 0.3: 4}
    assert len({r.body for r in found if r.leaves_after}) == 4
    assert len(set(workload.mixed())) == 36


def test_the_same_image_in_json() -> None:
    (raw,) = workload.same()
    wrapped = workload.as_json(raw)
    assert base64.b64decode(json.loads(wrapped.body)["image"]) == raw.body
    assert dict(wrapped.headers) == {"content-type": "application/json"}


def test_runs_in_turns_count_as_one() -> None:
    request = PlannedRequest("/segment", b"", ())
    runs = [Run((TimedAnswer(request, "ok", 0.0, 1.0),) * n, 2.0, cpu=3.0) for n in (1, 5)]
    both = joined(runs)
    assert (both.count("ok"), both.goodput, both.cpu) == (6, 1.5, 6.0)


def answer(side: int, category: str = "disc") -> bytes:
    counts = rle.encode(Crop(2, 3, np.ones((side, 10), bool)), 40, 30)
    instance = {
        "category": category,
        "category_id": 1,
        "score": 0.9,
        "bbox": [3, 2, 10, side],
        "area": 10 * side,
        "segmentation": {"size": [30, 40], "counts": rle.compress(counts)},
        "resolution": 28,
        "truncated": False,
    }
    rest = {"id": "a", "model": "m", "width": 40, "height": 30, "degraded": False, "timings_ms": {}}
    return json.dumps(rest | {"instances": [instance]}).encode()


def test_differences_are_shares_of_the_area() -> None:
    assert report.differ(answer(10), answer(10)) == (0.0, 1)
    assert report.differ(answer(11), answer(10)) == (pytest.approx(0.1), 1)
    assert report.differ(answer(10, "ring"), answer(10)) == (1.0, 1)


def test_tables_and_plots_show_what_was_measured(tmp_path: Path) -> None:
    request = PlannedRequest("/segment", b"", ())
    answers = tuple(TimedAnswer(request, "ok", 0.0, 0.1 * (i + 1)) for i in range(10))
    run = report.figures(Run((*answers, TimedAnswer(request, "refused", 0, 0.01, note="3")), 2.0, cpu=5.0))
    assert (run["goodput"], run["cpu_per_answer"], run["retry_after"]) == (5.0, 0.5, ["3"])
    files = {
        "overhead": {
            "engine": {"p50": 0.1, "throughput": 5.0},
            "one": run,
            "beyond": {"median": 0.002, "p95": 0.0035, "share": 0.02, "share_p95": 0.04},
            "sixteen": run,
        },
        "peers": {"ours": {"steady": run, "leaving": run}},
        "overload": {"queue_seconds": 4.0, "peak": run, "rates": {"5.0": run, "10.0": run}},
        "burst": {
            "pictures": 20,
            "bursts": [
                {
                    "concurrency": 8,
                    "outcomes": {"answered": 19, "429": 1},
                    "refused": 3,
                    "median": 4.6,
                    "seconds": 9,
                },
                {
                    "concurrency": 20,
                    "outcomes": {"no answer": 20},
                    "refused": 0,
                    "median": None,
                    "seconds": 1,
                },
            ],
        },
        "soak": run
        | {
            "clients": 64,
            "left_in": {"queue": 9, "coarse": 2},
            "masks_compared": 7,
            "worst_mask_difference": 0.001,
            "memory": [[i / 3, 10**9] for i in range(6)] + [[99.0, 2 * 10**9]],  # the last after the load
        },
    }
    for name, found in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    text = tables(tmp_path)
    assert "| service, 1 client | 550 | 5.00 | 1.00 |" in text
    assert "| median | 2.0 | 2.0% |" in text
    assert "| 95th percentile | 3.5 | 4.0% |" in text
    assert "| queue | 9 |" in text
    assert "| 10.0 | 2.0 × | 5.00 | 1.00 | 0.55 | 0.99 | 1 | 0 |" in text
    assert "20 pictures at once:" in text
    assert "| 8 | 19 | 1 | 3 | 5 | 9 |" in text and "| 20 | 0 | 20 | 0 | – | 1 |" in text
    assert "10 ok, 1 refused" in text
    said = " ".join(text.split())
    assert "worst difference 0.10% of the area" in said
    assert "1000 MB in the first third, 1000 MB in the last" in said
    assert [path.name for path in report.plots(tmp_path, tmp_path)] == [
        "load_overload.png",
        "load_memory.png",
    ]
    assert tables(tmp_path / "nowhere") == ""


def test_a_process_is_measured() -> None:
    before, start = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() - start < 0.05:  # the kernel counts in hundredths
        pass
    assert cpu_seconds(os.getpid()) > before > 0
    assert 10**7 < resident(os.getpid()) < 10**11
