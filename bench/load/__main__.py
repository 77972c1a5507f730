"""Command line `python -m bench.load`: the measurements of docs/load.md."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.load import report, workload
from bench.load.burst import PATIENT, sent_at_once
from bench.load.driver import PlannedRequest, Run, arriving, closed, cpu_seconds, joined
from bench.load.peers import BundleDir, opened, read, segment, written
from bench.load.servers import KINDS, ServerProcess, serving
from bench.load.soak import soaked
from bench.load.tables import tables
from export.bundle import Bundle
from export.manifest import read_manifest
from model.command_line import one_line_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Seconds = Annotated[float, typer.Option(min=1, help="Duration of each run.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often each takes its turn.")]
Out = Annotated[Path, typer.Option(help="Folder for the JSON files.")]
BUNDLE, OUT = Path("bundles/people"), Path("docs/load")


@app.command()
def overhead(bundle: BundleDir = BUNDLE, seconds: Seconds = 6, rounds: Rounds = 4, out: Out = OUT) -> None:
    """Measure what the service adds to each request's own stages, in turns with a loop of the engine alone."""
    model = opened(bundle)
    engine: list[float] = []
    one: list[Run] = []
    many: list[Run] = []
    with serving("ours", bundle) as server:
        warm(server)
        for _ in range(rounds):
            engine += _engine_alone(model, seconds)
            one.append(closed(server.url, workload.same(), 1, seconds))
            many.append(closed(server.url, workload.same(), 16, 2 * seconds))
    _write(
        out / "overhead.json",
        bundle,
        {
            "engine": {"p50": statistics.median(engine), "throughput": 1 / statistics.fmean(engine)},
            "one": report.figures(joined(one)),
            "beyond": report.beyond(joined(one)),
            "sixteen": report.figures(joined(many)),
        },
    )


@app.command()
def peers(bundle: BundleDir = BUNDLE, seconds: Seconds = 10, rounds: Rounds = 3, out: Out = OUT) -> None:
    """Compare our service, a plain handler and LitServe: sixteen clients, then a third of their requests are abandoned.

    They take turns, because a shared machine is not equally fast all the time.
    """
    runs: dict[str, dict[str, list[Run]]] = {kind: {"steady": [], "leaving": []} for kind in KINDS}
    for _ in range(rounds):
        for kind in KINDS:
            with serving(kind, bundle) as server:
                requests = workload.same()
                if kind == "litserve":
                    requests = [workload.as_json(request) for request in requests]
                warm(server, requests)
                runs[kind]["steady"].append(metered(server, requests, seconds))
                runs[kind]["leaving"].append(metered(server, workload.leaving(requests, 0.3), seconds))
    found = {
        kind: {load: report.figures(joined(each)) for load, each in loads.items()}
        for kind, loads in runs.items()
    }
    _write(out / "peers.json", bundle, found)


@app.command()
def overload(
    bundle: BundleDir = BUNDLE,
    seconds: Seconds = 40,
    queue: Annotated[float, typer.Option(help="The setting queue_seconds.")] = 4.0,
    out: Out = OUT,
) -> None:
    """Offer up to three times as many requests as can be served, and measure what is answered and how late."""
    with serving("ours", bundle, queue_seconds=queue) as server:
        warm(server)
        first = closed(server.url, workload.mixed(), 16, seconds)
        rates = {}
        for rate in (factor * first.goodput for factor in (0.5, 1.0, 1.5, 2.0, 3.0)):
            rates[rate] = report.figures(arriving(server.url, workload.mixed(), rate, seconds))
        # The peak is measured again at the end, because the machine may have been slower at first.
        again = closed(server.url, workload.mixed(), 16, seconds)
        peak = max(first, again, key=lambda run: run.goodput)
    _write(
        out / "overload.json", bundle, {"queue_seconds": queue, "peak": report.figures(peak), "rates": rates}
    )


@app.command()
def burst(
    bundle: BundleDir = BUNDLE,
    pictures: Annotated[int, typer.Option(min=1, help="How many are sent at once.")] = 400,
    out: Out = OUT,
) -> None:
    """Give the Python client many pictures at once: with its limit of requests in flight, and with all in flight."""
    with serving("ours", bundle) as server:
        warm(server)
        body = workload.same()[0].body
        found = [sent_at_once(server.url, body, pictures, most) for most in (PATIENT, pictures)]
    _write(out / "burst.json", bundle, {"pictures": pictures, "bursts": found})


@app.command()
def soak(
    bundle: BundleDir = BUNDLE,
    seconds: Seconds = 300,
    clients: Annotated[
        int, typer.Option(help="Clients at once; a third of their requests are abandoned.")
    ] = 64,
    out: Out = OUT,
) -> None:
    """Send mixed requests for minutes, compare each answer with that of the request alone, and watch the memory."""
    with serving("ours", bundle) as server:
        warm(server)
        found = soaked(server, workload.mixed(), clients, seconds)
    _write(out / "soak.json", bundle, found)


@app.command()
def plot(out: Out = OUT, figures: Annotated[Path, typer.Option()] = Path("docs/images")) -> None:
    """Print the tables, and write plots into a folder."""
    print(tables(out))
    for path in report.plots(out, figures):
        print(path)


def warm(server: ServerProcess, requests: Sequence[PlannedRequest] = ()) -> None:
    """Send some requests first, so that what happens only once is not measured. Raise RuntimeError if one fails."""
    run = closed(server.url, requests or workload.same(), 4, 3, keep=True)
    if failed := next((a for a in run.answers if a.outcome == "failed"), None):
        raise RuntimeError(f"{server.kind} fails: {failed.note} {failed.body[:500]!r}")


def metered(server: ServerProcess, requests: list[Any], seconds: float) -> Run:
    """Run sixteen clients, and measure the CPU time of the server."""
    begin = cpu_seconds(server.pid)
    run = closed(server.url, requests, 16, seconds)
    return replace(run, cpu=cpu_seconds(server.pid) - begin)


def _engine_alone(model: Bundle, seconds: float) -> list[float]:
    """Return the seconds of decode, predict and encode, one request after the other in this process."""
    body = workload.same()[0].body
    times: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or len(times) < 5:
        start = time.perf_counter()
        written(segment(model, [read(body)])[0])
        times.append(time.perf_counter() - start)
    return times[2:]


def _write(path: Path, bundle: Path, found: dict[str, Any]) -> None:
    """Write what was found, and which weights it was found with."""
    weights = read_manifest(bundle).source.get("sha256")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"weights": weights, **found}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    with one_line_errors(RuntimeError):
        app()
