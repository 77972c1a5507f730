"""From what a caller asks for to what httpx sends."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pointrend_client.pictures import KeptImage


def request(picture: bytes | KeptImage, parameters: Mapping[str, object]) -> dict[str, Any]:
    """Return httpx's arguments for POST /segment.

    Boxes go into a form, because a thousand of them are too long for a URL; those of a kept picture, which has no body,
    into the query.
    """
    query: dict[str, Any] = {name: value for name, value in parameters.items() if value is not None}
    if not isinstance(query.get("classes", ""), str):
        query["classes"] = ",".join(query["classes"])
    boxes = query.pop("boxes", None)
    text = boxes if isinstance(boxes, str | None) else json.dumps(boxes, separators=(",", ":"))
    if isinstance(picture, KeptImage):
        return {"params": query | {"kept": picture.id} | ({} if text is None else {"boxes": text})}
    if text is None:
        return {
            "params": query,
            "content": picture,
            "headers": {"content-type": "application/octet-stream"},
        }
    return {"params": query, "files": {"image": picture}, "data": {"boxes": text}}


def window_query(
    kept: str,
    instance: int | None,
    window: Sequence[float],
    size: tuple[int, int],
    parameters: Mapping[str, object],
) -> dict[str, Any]:
    """Return httpx's arguments for POST /render. `size` is the width and height of what is rendered."""
    chosen = {name: value for name, value in parameters.items() if value is not None}
    corners = ",".join(str(float(each)) for each in window)
    view = {"id": kept} if instance is None else {"id": kept, "instance": instance}
    view |= {"window": corners, "width": size[0], "height": size[1]}
    return {"params": view | chosen | {"format": "png"}}


def with_format(parameters: Mapping[str, object], format: str) -> dict[str, object]:
    """Return the parameters with the format that a method decodes. Raise TypeError if they name one themselves."""
    if "format" in parameters:
        raise TypeError(f"this method always asks for format {format!r}; post() takes any `format`")
    return {**parameters, "format": format}
