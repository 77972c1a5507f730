"""The texts of README and docs that consist of figures, made from the files that the measurements wrote."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.load import tables
from bench.load.report import peaks, read
from bench.markdown import paragraph, table
from bench.speed.growth import Series
from bench.speed.growth import report as growth_report
from bench.speed.row import Row, markdown

# Rows of the table of docs/speed.md, by how they begin.
IN_README = (
    "render 100",
    "paste and encode",
    "R50, 800 px, 20 masks",
    "coarse pass, as served",
    "astronaut.jpg",
)
PICTURE = Path("examples/astronaut.jpg")  # of all measurements
WEIGHTS = Path("model/weights/people.safetensors")
_PLACES = 64  # requests that a replica takes in, see POINTREND_QUEUE_LENGTH
_LOAD = 0.7  # of what a replica can answer, so that queues stay short
_WANTED = 1000  # images a second


def texts(docs: Path) -> dict[str, str]:
    """Return all texts that the files below `docs` are enough for, by name."""
    return dict(_texts(docs))


def _texts(docs: Path) -> Iterator[tuple[str, str]]:
    load = {name: read(docs / "load" / f"{name}.json") for name in tables.TABLES}
    for name, found in load.items():
        if found is not None:
            yield name, tables.TABLES[name](found)
    yield "weights", weights([found for found in load.values() if found is not None])
    speed = [Row(**row) for row in _list(docs / "speed.json")]
    if speed:
        yield "speed", markdown(speed)
        yield "speed-in-readme", markdown([row for row in speed if row.what.startswith(IN_README)])
    if found := read(docs / "speed_growth.json"):
        yield "growth", growth_report([Series.read(each) for each in found["series"]], found["memory_mb"])
    if found := read(docs / "scale.json"):
        yield "scale", scale(found)
    overhead, peers, overload, soak = (load[name] for name in ("overhead", "peers", "overload", "soak"))
    if peers and overload:
        yield "load-in-readme", under_load(peers, overload)
    if overhead and peers and soak:
        memory = max(peaks(soak["memory"])) / 1e9
        yield "many", many(peers["ours"]["steady"]["goodput"], overhead, memory, speed)


def weights(measured: list[dict[str, Any]]) -> str:
    """Return how many of these were measured with the shipped weights."""
    shipped = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    now = sum(found.get("weights") == shipped for found in measured)
    if now == len(measured):
        return f"All tables were measured with the shipped weights (sha256 {shipped[:12]}…)."
    if not now:
        return "No table was measured with the shipped weights: all are of earlier ones."
    return f"{now} of {len(measured)} tables were measured with the shipped weights, the others with earlier ones."


def scale(found: dict[str, Any]) -> str:
    """Return the table of replicas on Ray."""
    rows = [
        (
            f"{each['replicas']}{', one killed after a third' if each.get('one_killed') else ''}",
            str(each["cores_each"]),
            f"{each['images_per_second']:.2f}",
            f"{each['p50_seconds']:.2f}",
            f"{each['p95_seconds']:.2f}",
            str(sum(each["outcomes"].values()) - each["outcomes"].get("answered", 0)),
        )
        for each in found["setups"]
    ]
    return table(("replicas", "cores of each", "images/s", "p50, s", "p95, s", "not answered"), rows)


def under_load(peers: dict[str, Any], overload: dict[str, Any]) -> str:
    """Return the README's sentences on the service under load."""
    kinds = ("ours", "plain", "litserve")
    steady, leaving = (
        [f"{peers[kind][each]['goodput']:.1f}" for kind in kinds] for each in ("steady", "leaving")
    )
    peak = overload["peak"]["goodput"]
    twice = min(overload["rates"].items(), key=lambda rate: abs(float(rate[0]) / peak - 2))[1]
    return paragraph(
        "- **Under load** (`python -m bench.load peers`; [docs/load.md](docs/load.md) says on which machine and with "
        "which weights), sixteen patient clients get "
        f"{steady[0]} images a second from us, {steady[1]} from a plain FastAPI handler around the same engine and "
        f"{steady[2]} from LitServe. If a third of the requests are abandoned, they get {leaving[0]}, {leaving[1]} and "
        f"{leaving[2]}: the others go on computing for clients that left. At twice the load that sixteen clients "
        f"reached, the service answers {twice['goodput'] / peak:.2f} times as many as then, 99 of 100 within "
        f"{twice['p99']:.1f} s where its queue is bounded to {overload['queue_seconds']:g} s, and refuses the rest "
        "(`python -m bench.load overload`).",
        indent="  ",
    )


def many(rate: float, overhead: dict[str, Any], memory: float, speed: list[Row]) -> str:
    """Return the calculation for a thousand images a second, from a replica's rate and its memory in GB."""
    used, second = _LOAD * rate, overhead["one"]["p50"]
    replicas = math.ceil(_WANTED / used)
    cores, kilobytes = 2 * replicas, PICTURE.stat().st_size / 1000
    machines = math.ceil(cores / 30)
    rows = [
        (
            "a replica of two cores answers",
            f"{rate:.1f} images/s",
            "measured, [load.md](load.md), sixteen clients",
        ),
        (
            f"at a load of {_LOAD:.0%}, so that queues stay short",
            f"{used:.1f} images/s",
            f"{rate:.1f} × {_LOAD}",
        ),
        ("replicas", str(replicas), f"1,000 / {used:.2f}"),
        ("cores", str(cores), f"{replicas} × 2"),
        ("machines of 32 cores, 2 kept for the system", str(machines), f"{cores} / 30, rounded up"),
        (
            "memory",
            f"{replicas * memory:.0f} GB",
            f"{replicas} × {memory:.2f} GB, a replica's in the soak of [load.md](load.md)",
        ),
        ("network in", f"{kilobytes * 8 / 1000:.1f} Gbit/s", f"1,000 × {kilobytes:.0f} kB × 8"),
        (
            "requests in the system at any time",
            f"{2000 * second:.0f}",
            f"1,000 × {2 * second:.2f} s (Little's law), if a request takes twice its {second:.2f} s",
        ),
        (
            f"queues are full, when the load doubles from {_LOAD:.0%}, after",
            f"{_PLACES / ((2 * _LOAD - 1) * rate):.0f} s",
            f"{_PLACES} / ({2 * _LOAD - 1:.1f} × {rate:.1f})",
        ),
        ("a proxy on each machine has", f"{_WANTED / machines:.0f} requests/s", f"1,000 / {machines}"),
    ]
    if speed:
        whole, coarse = speed[-1].ours, speed[-1].theirs
        free = 1 / (whole - coarse)
        rows += [
            (
                "a replica whose coarse pass took no time",
                f"{free:.0f} images/s",
                f"1 s / ({whole * 1000:.0f} − {coarse * 1000:.0f} ms), [speed.md](speed.md)",
            ),
            ("such replicas", str(math.ceil(_WANTED / free - 1e-6)), f"1,000 / {free:.0f}"),
        ]
    return table(("", "", ""), rows)


def _list(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    return found
