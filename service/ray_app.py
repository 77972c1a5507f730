"""The same service on Ray Serve: each replica is the whole app with its own engine, scheduler and admission.

    serve run service.ray_app:application bundles=bundles/people max_replicas=4

Ray starts and ends replicas and spreads requests among them; batching stays with our scheduler, which knows sizes,
costs and deadlines. Settings come from POINTREND_… on the machine that starts the application. Needs the extra `ray`.
"""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.util.metrics import Gauge

from service.app import create_app
from service.settings import check_environment, read_settings

HEALTH_PERIOD = 10.0  # s, between two health checks of a replica, and so between two of its samples


class Scale(BaseModel):
    """What `serve run` or a RayService's `args` may say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundles: str | None = Field(default=None, description="As POINTREND_BUNDLES, which it overrides.")
    cpus: int = Field(default=2, ge=1, description="Of a replica: its threads, which Ray reserves.")
    gpus: float = Field(default=0, ge=0, description="Of a replica; above 0 the device is cuda.")
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    target_requests: float = Field(default=4, gt=0, description="Inside a replica, on average, when scaling.")


def application(scale: Scale) -> Application:
    """An autoscaling deployment of the service. Raises ValueError for bad settings, here and not in a replica."""
    check_environment()
    settings = read_settings(
        bundles=scale.bundles, threads=scale.cpus, device="cuda" if scale.gpus else "cpu", access_log=False
    )
    deployment = serve.deployment(
        name="pointrend",
        # More than a replica lets in: it is the service that refuses, with a Retry-After that it computed.
        max_ongoing_requests=settings.queue_length + 8,
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.target_requests,
        ),
        health_check_period_s=HEALTH_PERIOD,
        health_check_timeout_s=60,
        graceful_shutdown_timeout_s=settings.grace_seconds + 5,
        ray_actor_options={"num_cpus": scale.cpus, "num_gpus": scale.gpus},
    )
    # The app is made in the replica: what it holds (sessions, threads) cannot travel.
    bound: Application = deployment(serve.ingress(lambda: create_app(settings))(Replica)).bind()
    return bound


class Replica:
    """What Ray asks besides requests. Its health check also hands over the metrics."""

    app: FastAPI  # Ray's

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    async def check_health(self) -> None:
        """Returns once every model is warmed up. Raises RuntimeError if one cannot serve."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            while not (await client.get("/readyz")).is_success:
                if not (health := await client.get("/healthz")).is_success:
                    raise RuntimeError(health.json()["detail"])
                await asyncio.sleep(0.1)
            self._mirror((await client.get("/metrics")).text, serve.get_replica_context().replica_tag)

    def _mirror(self, page: str, replica: str) -> None:
        """Our samples as gauges of Ray's, by their own names, beside its own.

        Ray prefixes `ray_`; docs/scale.md has the relabelling under which rules and dashboards work unchanged.
        """
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.startswith("pointrend_"):
                    labels = {**sample.labels, "replica": replica}
                    if sample.name not in self._gauges:
                        self._gauges[sample.name] = Gauge(sample.name, family.documentation, tuple(labels))
                    self._gauges[sample.name].set(sample.value, labels)
