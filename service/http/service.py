"""What the routes work with, and how each of them gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from service.budgets import Budgets
from service.engine.engine import Engine
from service.engine.errors import ParameterError, Starting
from service.engine.resources import Resources
from service.http.auth import Keys
from service.http.body.limits import BodyBudget
from service.http.health import OwnFailures
from service.http.problems import Problem
from service.http.query.echo import cut, listed
from service.http.query.parameters import check_number
from service.observe.metrics import Metrics
from service.settings import Settings


@dataclass(frozen=True)
class Service:
    """One service: its settings, its engines by name (the default first), and what they share.

    The app has it as `app.state.service`.
    """

    settings: Settings
    engines: Mapping[str, Engine]
    resources: Resources
    budgets: Budgets
    bodies: BodyBudget
    metrics: Metrics
    keys: Keys

    @cached_property
    def failures(self) -> OwnFailures:
        """Whether requests fail of late, as they end."""
        return OwnFailures(self._probe)

    async def _probe(self) -> None:
        for engine in self.engines.values():
            await engine.try_golden()

    @property
    def default(self) -> Engine:
        """The engine of requests that name no model."""
        return next(iter(self.engines.values()))

    def engine(self, name: str | None) -> Engine:
        """Return the engine of this model, or of the default.

        Raises ParameterError if there is no such model, Starting or Problem if it cannot serve.
        """
        chosen = self.default.manifest.name if name is None else name
        if chosen not in self.engines:
            raise ParameterError(
                "model", f"there is no model {chosen[:80]!r}; loaded: {listed(self.engines)}"
            )
        engine = self.engines[chosen]
        if engine.failure is not None:
            raise Problem("unhealthy", f"model {chosen!r} cannot serve: {cut(engine.failure)}")
        if not engine.ready:
            raise Starting(f"model {chosen!r} is warming up")
        return engine

    def loaded(self, name: str) -> Engine:
        """Return the engine of a model that a path names, ready or not. Raise Problem if there is no such model."""
        if name not in self.engines:
            raise Problem("not-found", f"there is no model {name[:80]!r}; loaded: {listed(self.engines)}")
        return self.engines[name]

    def deadline_seconds(self, asked_ms: int | None) -> float | None:
        """Return the seconds that a request may take, if there is a limit: what it asks for, or else the setting."""
        chosen = self.settings.deadline_ms if asked_ms is None else asked_ms
        return None if chosen is None else chosen / 1000

    def check_health(self) -> None:
        """Raise Problem if a model's worker has ended or is stuck, or if a model failed to warm up."""
        for name, engine in self.engines.items():
            if engine.failure is not None:
                raise Problem("unhealthy", f"model {name!r} cannot serve: {cut(engine.failure)}")
            if not engine.alive:
                raise Problem("unhealthy", f"the worker of {name!r} is not running, or stuck")


async def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service


CurrentService = Annotated[Service, Depends(service_of)]


async def check_key(request: Request, service: CurrentService) -> None:
    """Note whose API key the request has. Raise Problem unless it is valid, or none is needed."""
    request.state.owner = service.keys.check(request.headers)


async def check_number_of_parameters(request: Request) -> None:
    """Raise ParameterError if the query has many more parameters than there are."""
    check_number(request.scope["query_string"])


NEEDS_KEY = Depends(check_key)
FEW_PARAMETERS = Depends(check_number_of_parameters)
