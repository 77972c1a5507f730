"""A service out of its parts: an engine for each bundle, what the engines share, and what is shown of it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.bundle import Bundle
from model.errors import UserError
from model.pointrend.render import GROUP_POINTS, points_that_fit
from service.budgets import Budgets, plan
from service.decoding.decoder import Decoder
from service.decoding.pool import DECODER, REDUCING_DECODER, DecodePool
from service.engine.device.batching import BatchLimits
from service.engine.engine import Engine
from service.engine.observer import Observer, Observers
from service.engine.queue.admission import Admission
from service.engine.queue.intake import EngineConfig
from service.engine.resources import Limits, Resources, share
from service.engine.workers import Workers
from service.http.auth import Keys
from service.http.body.limits import BodyBudget
from service.http.service import Service
from service.machine import memory
from service.observe.metrics import Metrics
from service.observe.state_metrics import StateMetrics
from service.settings import Settings

if TYPE_CHECKING:
    from service.observe.traces import Traces


def assemble(
    settings: Settings,
    bundles: Sequence[Bundle],
    traces: Traces | None = None,
    decoder: Decoder | None = None,
) -> Service:
    """Return a service with an engine for each bundle. Raise UserError if it cannot be made of these settings.

    Images are decoded by `decoder`, or else by processes.
    """
    names = [bundle.manifest.name for bundle in bundles]
    if not names:
        raise UserError("there is no model to serve: give --bundle DIR or set POINTREND_BUNDLES")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"two bundles have the same name: {', '.join(twice)}")
    budgets = plan(settings, memory())
    workers, metrics = Workers(settings.thread_budget, settings.stuck_seconds), Metrics()
    if decoder is None:
        kind = DECODER if settings.exact_pixels else REDUCING_DECODER
        decoder = pool = DecodePool(workers.pool_size, budgets.decode, kind)
        metrics.state.show_decoders(lambda: pool.alive, lambda: pool.kills + pool.crashes)
    resources = share(workers, decoder, _limits(settings, budgets, bundles), metrics.kept)
    bodies = BodyBudget(budgets.held, settings.max_body_bytes / settings.body_seconds)
    metrics.kept.show(resources.kept)
    metrics.state.show_build(version(), settings.device, settings.thread_budget)
    metrics.state.show_queue(resources.admission, settings.queue_seconds)
    _show_budgets(metrics.state, budgets, bodies, resources)
    config = _engine_config(settings, budgets, resources.admission)
    engines = {}
    for name, bundle in zip(names, bundles, strict=True):
        observer: Observer = metrics.models.of(name)
        if traces is not None:
            observer = Observers(observer, traces.of(name))
        engines[name] = Engine(bundle, resources, config, observer)
        metrics.state.watch(engines[name])
    return Service(settings, engines, resources, budgets, bodies, metrics, Keys.of(settings))


def _show_budgets(state: StateMetrics, budgets: Budgets, bodies: BodyBudget, resources: Resources) -> None:
    state.show_budget("held", budgets.held, lambda: bodies.held)
    state.show_budget("decode", budgets.decode, lambda: resources.decoding.memory.held)
    state.show_budget("render", budgets.render, lambda: resources.render_memory.held)
    state.show_budget("encode", budgets.encode, lambda: resources.encoding.memory.held)
    state.show_budget("keep", budgets.keep, lambda: resources.kept.held)


def _limits(settings: Settings, budgets: Budgets, bundles: Sequence[Bundle]) -> Limits:
    heads = ((b.predictor.device, b.predictor.head) for b in bundles)
    fitting = [points_that_fit(device, head.dim) for device, head in heads if head is not None]
    step = settings.step_points or min(fitting, default=GROUP_POINTS)
    return Limits(
        batching=BatchLimits(settings.max_wait_ms / 1000, settings.batch_budget, step),
        queue_seconds=settings.queue_seconds,
        queue_length=settings.queue_length,
        decode_bytes=budgets.decode,
        render_bytes=budgets.render,
        encode_bytes=budgets.encode,
        keep_bytes=budgets.keep,
    )


def _engine_config(settings: Settings, budgets: Budgets, admission: Admission) -> EngineConfig:
    return EngineConfig(
        max_pixels=settings.max_pixels,
        max_points=settings.max_points,
        formats=settings.formats,
        degrade_at=settings.degrade_at,
        decode_seconds=settings.decode_seconds,
        decode_bytes=budgets.decode,
        encode_bytes=budgets.encode,
        most_seconds=admission.most_seconds,
        keep_seconds=settings.keep_seconds,
    )


def version() -> str:
    """Return the version of the installed package, or 0 if the code runs without being installed."""
    try:
        return importlib.metadata.version("pointrend-served")
    except importlib.metadata.PackageNotFoundError:
        return "0"
