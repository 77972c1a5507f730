"""The measurements as Markdown: for each of its files a sentence that says what was found, and its table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from bench.load.report import Json, loaded, peaks, read
from bench.load.servers import KINDS
from bench.markdown import paragraph, table


def overhead(found: Json) -> str:
    """Return what the service adds to the engine."""
    engine, one, many, more = found["engine"], found["one"], found["sixteen"], found["beyond"]
    rows = [
        _overhead_row("engine alone, in a loop", engine["p50"], engine["throughput"], engine["throughput"]),
        _overhead_row("service, 1 client", one["p50"], one["goodput"], engine["throughput"]),
        _overhead_row("service, 16 clients", many["p50"], many["goodput"], engine["throughput"]),
    ]
    added = [
        ("median", f"{1000 * more['median']:.1f}", f"{more['share']:.1%}"),
        ("95th percentile", f"{1000 * more['p95']:.1f}", f"{more['share_p95']:.1%}"),
    ]
    return "\n\n".join(
        (
            paragraph(
                f"It adds {1000 * more['median']:.1f} ms to a request of {1000 * one['p50']:.0f} ms. One client gets "
                f"{one['goodput'] / engine['throughput']:.2f} of what the loop answers, sixteen clients get "
                f"{many['goodput'] / engine['throughput']:.2f}."
            ),
            table(("", "p50, ms", "answers/s", "of the loop's"), rows),
            table(("beyond the request's own stages, 1 client", "ms", "of them"), added),
        )
    )


def peers(found: Json) -> str:
    """Return what other servers answer around the same engine."""
    rows = [
        (
            kind,
            load,
            f"{f['goodput']:.2f}",
            f"{1000 * f['p50']:.0f}",
            f"{1000 * f['p99']:.0f}",
            f"{f['cpu_per_answer']:.2f}",
            str(f["outcomes"]["left"]),
            str(f["outcomes"]["failed"]),
        )
        for kind in KINDS
        for load, f in found.get(kind, {}).items()
    ]
    return table(("", "", "answers/s", "p50, ms", "p99, ms", "CPU s/answer", "left", "failed"), rows)


def overload(found: Json) -> str:
    """Return what is answered at several times the load that can be served."""
    peak = found["peak"]["goodput"]
    rows = [
        (
            f"{float(rate):.1f}",
            f"{float(rate) / peak:.1f} ×",
            f"{f['goodput']:.2f}",
            f"{f['goodput'] / peak:.2f}",
            f"{f['p50']:.2f}",
            f"{f['p99']:.2f}",
            str(f["outcomes"]["refused"]),
            str(f["outcomes"]["failed"]),
        )
        for rate, f in found["rates"].items()
    ]
    header = ("offered/s", "of the peak", "answers/s", "of the peak", "p50, s", "p99, s", "refused", "failed")
    return table(header, rows)


def burst(found: Json) -> str:
    """Return what became of pictures that a client was given at once."""
    rows = [
        (
            str(f["concurrency"]),
            str(f["outcomes"].get("answered", 0)),
            str(sum(f["outcomes"].values()) - f["outcomes"].get("answered", 0)),
            str(f["refused"]),
            "–" if f["median"] is None else f"{f['median']:.0f}",
            f"{f['seconds']:.0f}",
        )
        for f in found["bursts"]
    ]
    header = ("in flight", "answered", "lost", "told to come back", "median, s", "all, s")
    return paragraph(f"{found['pictures']} pictures at once:") + "\n\n" + table(header, rows)


def soak(found: Json) -> str:
    """Return what happened in a long mixed run."""
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in found["outcomes"].items())
    first, last = (size / 1e6 for size in peaks(loaded(found)))
    text = paragraph(
        f"{found['clients']} clients, {found['seconds']:.0f} s: {outcomes}. {found['masks_compared']} masks compared "
        f"with those of single requests, worst difference {found['worst_mask_difference']:.2%} of the area. Memory: "
        f"at most {first:.0f} MB in the first third, {last:.0f} MB in the last."
    )
    left = [(stage, str(count)) for stage, count in found["left_in"].items()]
    return text + "\n\n" + table(("clients left in", "requests"), left) if left else text


TABLES: Mapping[str, Callable[[Json], str]] = MappingProxyType(
    {each.__name__: each for each in (overhead, peers, overload, burst, soak)}
)


def tables(folder: Path) -> str:
    """Return all measurements in `folder` as Markdown."""
    found = ((write, read(folder / f"{name}.json")) for name, write in TABLES.items())
    return "\n\n".join(write(each) for write, each in found if each)


def _overhead_row(what: str, seconds: float, rate: float, loop: float) -> tuple[str, str, str, str]:
    return what, f"{1000 * seconds:.0f}", f"{rate:.2f}", f"{rate / loop:.2f}"
