"""A client of the service: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000") as client:
        found = client.segment("photo.jpg", resolution=224)
        for instance in found.instances:
            instance.mask  # bool [height, width]

Both raise ClientError (errors.py), and both try again what may succeed later (retries.py). Both have at most
`concurrency` requests in flight, those that wait for their next attempt included; a further one waits for its turn. So
a burst of any length reaches the service at the pace at which it answers.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Unpack

import httpx
import numpy as np
from numpy.typing import NDArray

from service.client.connect import open_http
from service.client.parameters import LabelMapParameters, MaskParameters, Parameters
from service.client.pictures import Picture, file_of
from service.client.requests import request, with_format
from service.client.results import Segmentation, ServedModel, parse, parse_model, read_label_map
from service.client.retries import Attempts, Outcome, Retries

CONCURRENCY = 8  # enough to keep a service's device busy while it decodes other images


class Client:
    """A client that blocks, and that several threads may share.

    `parameters` are those of POST /segment, as `service/client/parameters.py` lists them. An image is given as one of
    the kinds that `service/client/pictures.py` lists. `timeout` is the time in seconds for an answer of one attempt.
    Raises ClientError if the address, the key or the environment cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: Retries | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._http = open_http(httpx.Client, url, api_key, timeout, concurrency)
        self._retries = retries or Retries()
        self._places = threading.BoundedSemaphore(concurrency)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def segment(self, image: Picture, **parameters: Unpack[MaskParameters]) -> Segmentation:
        """Return the masks of an image. Raises ClientError, OSError."""
        return parse(self._post(image, with_format(parameters, "rle")).json())

    def label_map(self, image: Picture, **parameters: Unpack[LabelMapParameters]) -> NDArray[np.uint8]:
        """Return a semantic model's label map [height, width].

        A cell holds the position of its class among the model's classes, or 255 if that class was not asked for.
        Raises ClientError, OSError.
        """
        return read_label_map(self._post(image, with_format(parameters, "png")).content)

    def post(self, image: Picture, **parameters: Unpack[Parameters]) -> httpx.Response:
        """Return the successful answer as it is, for other formats. Raises ClientError, OSError."""
        return self._post(image, parameters)

    def models(self) -> tuple[ServedModel, ...]:
        """Return the models of the service, the default first. Raises ClientError."""
        return tuple(map(parse_model, self._send("GET", "/models", {}).json()))

    def _post(self, image: Picture, parameters: Mapping[str, object]) -> httpx.Response:
        with self._places:
            return self._send("POST", "/segment", request(file_of(image), parameters))

    def _send(self, method: str, path: str, arguments: Mapping[str, Any]) -> httpx.Response:
        attempts = Attempts(self._retries)
        while True:
            outcome: Outcome
            try:
                outcome = response = self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                outcome = error
            if (wait := attempts.wait_after(outcome)) is None:
                return response
            time.sleep(wait)


class AsyncClient:
    """The same client for asyncio. `asyncio.gather` may be given any number of its calls."""

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        timeout: float = 120.0,
        retries: Retries | None = None,
        concurrency: int = CONCURRENCY,
    ) -> None:
        self._http = open_http(httpx.AsyncClient, url, api_key, timeout, concurrency)
        self._retries = retries or Retries()
        self._places = asyncio.BoundedSemaphore(concurrency)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def segment(self, image: Picture, **parameters: Unpack[MaskParameters]) -> Segmentation:
        """Return the masks of an image, as `Client.segment` does."""
        return parse((await self._post(image, with_format(parameters, "rle"))).json())

    async def label_map(self, image: Picture, **parameters: Unpack[LabelMapParameters]) -> NDArray[np.uint8]:
        """Return a semantic model's label map, as `Client.label_map` does."""
        return read_label_map((await self._post(image, with_format(parameters, "png"))).content)

    async def post(self, image: Picture, **parameters: Unpack[Parameters]) -> httpx.Response:
        """Return the successful answer as it is, as `Client.post` does."""
        return await self._post(image, parameters)

    async def models(self) -> tuple[ServedModel, ...]:
        """Return the models of the service, as `Client.models` does."""
        return tuple(map(parse_model, (await self._send("GET", "/models", {})).json()))

    async def _post(self, image: Picture, parameters: Mapping[str, object]) -> httpx.Response:
        async with self._places:
            body = await asyncio.to_thread(file_of, image)
            return await self._send("POST", "/segment", request(body, parameters))

    async def _send(self, method: str, path: str, arguments: Mapping[str, Any]) -> httpx.Response:
        attempts = Attempts(self._retries)
        while True:
            outcome: Outcome
            try:
                outcome = response = await self._http.request(method, path, **arguments)
            except httpx.TransportError as error:
                outcome = error
            if (wait := attempts.wait_after(outcome)) is None:
                return response
            await asyncio.sleep(wait)
