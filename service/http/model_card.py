"""What /models says about a model."""

from __future__ import annotations

from service.engine.engine import Engine
from service.http.schemas import CategoryCard, LimitsCard, ModelCard, PreprocessingCard
from service.http.service import Service


def model_card(engine: Engine, service: Service) -> ModelCard:
    """Return the card of a loaded model, without the table of its parity, which is long."""
    manifest, task = engine.manifest, engine.card()
    pixels = manifest.preprocessing
    return ModelCard(
        name=manifest.name,
        task=manifest.task,
        ready=engine.ready,
        categories=[CategoryCard(id=each.id, name=each.name) for each in manifest.categories],
        preprocessing=PreprocessingCard(short_edge=pixels.short_edge, long_edge=pixels.long_edge),
        sides=task.sides,
        score_threshold=task.score_threshold,
        max_detections=task.max_detections,
        palette=task.palette,
        limits=_limits(service),
        providers=list(engine.providers),
        threads=service.resources.workers.threads,
    )


def _limits(service: Service) -> LimitsCard:
    settings = service.settings
    return LimitsCard(
        max_pixels=settings.max_pixels,
        max_body_bytes=settings.max_body_bytes,
        formats=list(settings.formats),
        decode_bytes=service.budgets.decode,
        held_bytes=service.budgets.held,
        render_bytes=service.budgets.render,
        encode_bytes=service.budgets.encode,
        max_points=settings.max_points,
        max_seconds=service.resources.admission.most_seconds,
    )
