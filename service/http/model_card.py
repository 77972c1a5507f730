"""What /models says about a model."""

from __future__ import annotations

from service.engine.engine import Engine
from service.engine.tasks.windows import MAX_WINDOW_SIDE
from service.http.schemas.cards import (
    CategoryCard,
    DetectorCard,
    LimitsCard,
    ModelCard,
    PrecisionCard,
    PreprocessingCard,
)
from service.http.service import Service


def model_card(engine: Engine, service: Service) -> ModelCard:
    """Return the card of a loaded model, without the table of its parity, which is long."""
    manifest, task = engine.manifest, engine.card()
    detector = None if manifest.detector is None else manifest.detector.settings
    pixels = manifest.preprocessing
    return ModelCard(
        name=manifest.name,
        task=manifest.task,
        ready=engine.ready,
        licence=manifest.source.get("licence"),
        detector=None if detector is None else DetectorCard(name=detector.name, licence=detector.licence),
        categories=[CategoryCard(id=each.id, name=each.name) for each in manifest.categories],
        preprocessing=PreprocessingCard(short_edge=pixels.short_edge, long_edge=pixels.long_edge),
        sides=task.sides,
        score_threshold=task.score_threshold,
        max_detections=task.max_detections,
        keeps=engine.keeps,
        segments_kept=engine.segments_kept,
        palette=task.palette,
        limits=_limits(service),
        providers=list(engine.providers),
        device=engine.execution.device,
        precision=PrecisionCard(
            coarse_pass=engine.execution.precision,
            point_head=engine.execution.head_precision,
            notes=list(engine.execution.notes),
        ),
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
        keep_bytes=service.budgets.keep,
        keep_seconds=settings.keep_seconds,
        max_window_side=MAX_WINDOW_SIDE,
    )
