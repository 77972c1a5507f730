"""What /models says about a model."""

from __future__ import annotations

from service.engine.engine import Engine
from service.http.schemas import CategoryCard, ModelCard, PreprocessingCard


def model_card(engine: Engine, threads: int) -> ModelCard:
    """Return the card of a loaded model, whose work may use so many threads."""
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
        providers=list(engine.providers),
        threads=threads,
        parity=manifest.parity,
    )
