"""The same service on Ray Serve: each replica is the whole app with its own engine, scheduler and admission.

    serve run service.ray_app:application bundles=bundles/people max_replicas=4

Ray starts and ends replicas and spreads requests among them. Batching stays with the service's own scheduler, which
knows sizes, costs and deadlines. Settings come from POINTREND_… on the machine that starts the application. Needs the
extra `ray`.
"""

# No `from __future__ import annotations`: Ray reads what `application` takes from its annotation, as a class.
import asyncio

import httpx
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.util.metrics import Gauge

from model.errors import UserError
from service.app import create_app
from service.settings import check_environment, read_settings

HEALTH_PERIOD = 10.0  # s between two health checks of a replica, and so between two samples of its metrics
HEALTH_TIMEOUT = 15.0  # s; after three of them without an answer Ray replaces the replica
UPSCALE_DELAY = 5.0  # s of too much load before Ray adds replicas; twice the load fills queues in 20 s
LOOK_BACK = 15.0  # s over which Ray averages the load, of which it takes a sample every 10 s


class Scale(BaseModel):
    """The arguments of `serve run`, or of a RayService's `args`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundles: str | None = Field(default=None, description="As POINTREND_BUNDLES, which it overrides.")
    cpus: int = Field(default=2, ge=1, description="Threads of a replica, which Ray reserves.")
    gpus: float = Field(default=0, ge=0, description="GPUs of a replica; above 0 the device is cuda.")
    memory_bytes: int | None = Field(
        default=None, ge=1, description="As POINTREND_MEMORY_BYTES, which it overrides. Ray reserves it."
    )
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    target_requests: float = Field(
        default=4, gt=0, description="Requests inside a replica, on average, to scale for."
    )


def application(scale: Scale) -> Application:
    """Return an autoscaling deployment of the service. Raise ValueError for bad settings, before any replica starts."""
    check_environment()
    settings = read_settings(
        bundles=scale.bundles,
        threads=scale.cpus,
        device="cuda" if scale.gpus else "cpu",
        memory_bytes=scale.memory_bytes,
        access_log=False,
    )
    if settings.label_studio_url and not (settings.api_keys or settings.api_keys_file):
        raise UserError("label_studio_url: needs POINTREND_API_KEYS or POINTREND_API_KEYS_FILE on Ray")
    reserved = {"num_cpus": scale.cpus, "num_gpus": scale.gpus}
    if settings.memory_bytes is not None:  # otherwise each replica counts on all memory of its host
        reserved["memory"] = settings.memory_bytes
    deployment = serve.deployment(
        name="pointrend",
        # More than a replica admits: the service itself refuses requests, with the Retry-After that it computed.
        max_ongoing_requests=settings.queue_length + 8,
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.target_requests,
            upscale_delay_s=UPSCALE_DELAY,
            look_back_period_s=LOOK_BACK,
        ),
        max_surge_percent=25,  # an update starts new replicas, at least one, before it stops old ones
        health_check_period_s=HEALTH_PERIOD,
        health_check_timeout_s=HEALTH_TIMEOUT,
        graceful_shutdown_timeout_s=settings.grace_seconds + 5,
        ray_actor_options=reserved,
    )
    # The app is made in the replica, because its sessions and threads cannot be sent there.
    bound: Application = deployment(serve.ingress(lambda: create_app(settings))(Replica)).bind()
    return bound


class Replica:
    """What Ray asks of a replica besides requests. Its health check also hands over the metrics."""

    app: FastAPI  # set by Ray

    def __init__(self) -> None:
        self._gauges: dict[str, Gauge] = {}

    async def check_health(self) -> None:
        """Return once every model is warmed up. Raise RuntimeError if one cannot serve."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            while not (await client.get("/readyz")).is_success:
                if not (health := await client.get("/healthz")).is_success:
                    raise RuntimeError(health.json()["detail"])
                await asyncio.sleep(0.1)
            self._mirror((await client.get("/metrics")).text, serve.get_replica_context().replica_tag)

    def _mirror(self, page: str, replica: str) -> None:
        """Show the service's samples as gauges of Ray, by their own names, beside Ray's own.

        Ray prefixes `ray_`; docs/scale.md has the relabelling under which rules and dashboards work unchanged.
        """
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.startswith("pointrend_"):
                    labels = {**sample.labels, "replica": replica}
                    if sample.name not in self._gauges:
                        self._gauges[sample.name] = Gauge(sample.name, family.documentation, tuple(labels))
                    self._gauges[sample.name].set(sample.value, labels)
