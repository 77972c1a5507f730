"""A client of the service: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000") as client:
        found = client.segment("photo.jpg", resolution=224)
        for instance in found.instances:
            instance.mask  # bool [height, width]

Both raise ClientError (errors.py), and both try again what may succeed later (retries.py).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import httpx
import numpy as np
from numpy.typing import NDArray

from service.client.parameters import LabelMapParameters, MaskParameters, Parameters
from service.client.results import Segmentation, parse, read_label_map
from service.client.retries import Retries, seconds_to_next_attempt

Image = bytes | str | Path


class Client:
    """A client that blocks. `parameters` are those of POST /segment, as `service/client/parameters.py` lists them."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: float = 120.0, retries: Retries | None = None
    ) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(api_key), timeout=timeout)
        self._retries = retries or Retries()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def segment(self, image: Image, **parameters: Unpack[MaskParameters]) -> Segmentation:
        """Return the masks of an image, given as its bytes or as a path. Raises ClientError, OSError."""
        return parse(self._post(image, {**parameters, "format": "rle"}).json())

    def label_map(self, image: Image, **parameters: Unpack[LabelMapParameters]) -> NDArray[np.uint8]:
        """Return a semantic model's label map [height, width].

        A cell holds the position of its class among the model's classes, or 255 if that class was not asked for.
        Raises ClientError, OSError.
        """
        return read_label_map(self._post(image, {**parameters, "format": "png"}).content)

    def post(self, image: Image, **parameters: Unpack[Parameters]) -> httpx.Response:
        """Return the successful answer as it is, for other formats. Raises ClientError, OSError."""
        return self._post(image, parameters)

    def _post(self, image: Image, parameters: Mapping[str, object]) -> httpx.Response:
        request = _request(_bytes(image), parameters)
        waits = self._retries.waits()
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = response = self._http.post("/segment", **request)
            except httpx.TransportError as error:
                outcome = error
            if (wait := seconds_to_next_attempt(outcome, waits)) is None:
                return response
            time.sleep(wait)


class AsyncClient:
    """The same client for asyncio."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout: float = 120.0, retries: Retries | None = None
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(api_key), timeout=timeout)
        self._retries = retries or Retries()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def segment(self, image: Image, **parameters: Unpack[MaskParameters]) -> Segmentation:
        """Return the masks of an image, as `Client.segment` does."""
        return parse((await self._post(image, {**parameters, "format": "rle"})).json())

    async def label_map(self, image: Image, **parameters: Unpack[LabelMapParameters]) -> NDArray[np.uint8]:
        """Return a semantic model's label map, as `Client.label_map` does."""
        return read_label_map((await self._post(image, {**parameters, "format": "png"})).content)

    async def post(self, image: Image, **parameters: Unpack[Parameters]) -> httpx.Response:
        """Return the successful answer as it is, as `Client.post` does."""
        return await self._post(image, parameters)

    async def _post(self, image: Image, parameters: Mapping[str, object]) -> httpx.Response:
        request = _request(await asyncio.to_thread(_bytes, image), parameters)
        waits = self._retries.waits()
        while True:
            outcome: httpx.Response | httpx.TransportError
            try:
                outcome = response = await self._http.post("/segment", **request)
            except httpx.TransportError as error:
                outcome = error
            if (wait := seconds_to_next_attempt(outcome, waits)) is None:
                return response
            await asyncio.sleep(wait)


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


def _bytes(image: Image) -> bytes:
    return image if isinstance(image, bytes) else Path(image).read_bytes()


def _request(body: bytes, parameters: Mapping[str, object]) -> dict[str, Any]:
    """Return httpx's arguments for a request.

    Boxes go into a form, because a thousand of them are too long for a URL.
    """
    query: dict[str, Any] = {name: value for name, value in parameters.items() if value is not None}
    if not isinstance(query.get("classes", ""), str):
        query["classes"] = ",".join(query["classes"])
    boxes = query.pop("boxes", None)
    if boxes is None:
        return {
            "params": query,
            "content": body,
            "headers": {"content-type": "application/octet-stream"},
        }
    text = boxes if isinstance(boxes, str) else json.dumps(boxes)
    return {"params": query, "files": {"image": body}, "data": {"boxes": text}}
