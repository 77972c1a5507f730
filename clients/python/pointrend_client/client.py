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
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from types import TracebackType
from typing import Any, Unpack

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from pointrend_client.connect import open_http
from pointrend_client.parameters import (
    CutoutParameters,
    LabelMapParameters,
    MaskParameters,
    Parameters,
    WindowParameters,
)
from pointrend_client.pictures import Picture, content_of
from pointrend_client.requests import request, window_query, with_format
from pointrend_client.results import (
    Segmentation,
    ServedModel,
    parse,
    parse_model,
    read_cutout,
    read_label_map,
    read_probabilities,
)
from pointrend_client.retries import Attempts, Outcome, Retries
from pointrend_client.streams import Lines, accepting_lines, broken

CONCURRENCY = 8  # enough to keep a service's device busy while it decodes other images


class Client:
    """A client that blocks, and that several threads may share.

    `parameters` are those of POST /segment, as parameters.py lists them. An image is given as one of the kinds that
    pictures.py lists. `timeout` is the time in seconds for an answer of one attempt. Raises ClientError if the address,
    the key or the environment cannot be used.
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
        """Return the masks of an image, or of `boxes` of a picture that is `KeptImage`. Raises ClientError, OSError."""
        return parse(self._post(image, with_format(parameters, "rle")).json())

    def label_map(self, image: Picture, **parameters: Unpack[LabelMapParameters]) -> NDArray[np.uint8]:
        """Return a semantic model's label map [height, width].

        A cell holds the position of its class among the model's classes, or 255 if that class was not asked for.
        Raises ClientError, OSError.
        """
        return read_label_map(self._post(image, with_format(parameters, "png")).content)

    def cutout(self, image: Picture, **parameters: Unpack[CutoutParameters]) -> Image:
        """Return the objects as a picture in mode RGBA, transparent elsewhere, with smooth edges.

        It has the image's size or, with `crop`, that of what is shown. `instance` picks one object; its number is the
        position in what `segment` returns. Raises ClientError, OSError.
        """
        return read_cutout(self._post(image, with_format(parameters, "cutout")).content)

    def stream(self, image: Picture, **parameters: Unpack[MaskParameters]) -> Iterator[Segmentation]:
        """Yield what is found as soon as it is: each level's masks, the coarsest first, and at last the whole answer.

        `side` is the side that a level has reached, and None for the whole answer. A slow reader skips levels and gets
        the newest. A failure before the first result is retried like any other; a later one is raised. Raises
        ClientError, OSError.
        """
        arguments = accepting_lines(request(content_of(image), with_format(parameters, "rle")))
        return self._lines(arguments)

    def _lines(self, arguments: Mapping[str, Any]) -> Iterator[Segmentation]:
        with self._places:
            attempts = Attempts(self._retries)
            while True:
                with ExitStack() as stack:
                    outcome: Outcome
                    try:
                        opened = self._http.stream("POST", "/segment", **arguments)
                        outcome = response = stack.enter_context(opened)
                        if not response.is_success:
                            response.read()
                    except httpx.TransportError as error:
                        outcome = error
                    if (wait := attempts.wait_after(outcome)) is None:
                        lines = Lines(response)
                        try:
                            for chunk in response.iter_bytes():
                                yield from lines.feed(chunk)
                        except httpx.TransportError as error:
                            raise broken(error) from error
                        lines.finish()
                        return
                time.sleep(wait)

    def post(self, image: Picture, **parameters: Unpack[Parameters]) -> httpx.Response:
        """Return the successful answer as it is, for other formats. Raises ClientError, OSError."""
        return self._post(image, parameters)

    def render(
        self,
        kept: str,
        instance: int | None,
        *,
        window: Sequence[float],
        size: tuple[int, int],
        **parameters: Unpack[WindowParameters],
    ) -> NDArray[np.uint8]:
        """Return a window of an instance's mask as 255 times the probability of each pixel, [height, width].

        `instance=None` renders a window of a label map; its cells are those of `label_map`. `kept` is
        `Segmentation.kept` of an answer to a request with `keep`, `window` (x0, y0, x1, y1) in the picture's pixels,
        fractions allowed, `size` the width and height of what is rendered. Raises ClientError.
        """
        arguments = window_query(kept, instance, window, size, parameters)
        with self._places:
            return read_probabilities(self._send("POST", "/render", arguments).content)

    def models(self) -> tuple[ServedModel, ...]:
        """Return the models of the service, the default first. Raises ClientError."""
        return tuple(map(parse_model, self._send("GET", "/models", {}).json()))

    def _post(self, image: Picture, parameters: Mapping[str, object]) -> httpx.Response:
        with self._places:
            return self._send("POST", "/segment", request(content_of(image), parameters))

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

    async def cutout(self, image: Picture, **parameters: Unpack[CutoutParameters]) -> Image:
        """Return the objects as a picture, as `Client.cutout` does."""
        return read_cutout((await self._post(image, with_format(parameters, "cutout"))).content)

    async def stream(
        self, image: Picture, **parameters: Unpack[MaskParameters]
    ) -> AsyncGenerator[Segmentation]:
        """Yield what is found as soon as it is, as `Client.stream` does."""
        async with self._places:
            body = await asyncio.to_thread(content_of, image)
            arguments = accepting_lines(request(body, with_format(parameters, "rle")))
            attempts = Attempts(self._retries)
            while True:
                async with AsyncExitStack() as stack:
                    outcome: Outcome
                    try:
                        opened = self._http.stream("POST", "/segment", **arguments)
                        outcome = response = await stack.enter_async_context(opened)
                        if not response.is_success:
                            await response.aread()
                    except httpx.TransportError as error:
                        outcome = error
                    if (wait := attempts.wait_after(outcome)) is None:
                        lines = Lines(response)
                        try:
                            async for chunk in response.aiter_bytes():
                                for found in lines.feed(chunk):
                                    yield found
                        except httpx.TransportError as error:
                            raise broken(error) from error
                        lines.finish()
                        return
                await asyncio.sleep(wait)

    async def post(self, image: Picture, **parameters: Unpack[Parameters]) -> httpx.Response:
        """Return the successful answer as it is, as `Client.post` does."""
        return await self._post(image, parameters)

    async def render(
        self,
        kept: str,
        instance: int | None,
        *,
        window: Sequence[float],
        size: tuple[int, int],
        **parameters: Unpack[WindowParameters],
    ) -> NDArray[np.uint8]:
        """Return a window of an instance's mask, as `Client.render` does."""
        arguments = window_query(kept, instance, window, size, parameters)
        async with self._places:
            return read_probabilities((await self._send("POST", "/render", arguments)).content)

    async def models(self) -> tuple[ServedModel, ...]:
        """Return the models of the service, as `Client.models` does."""
        return tuple(map(parse_model, (await self._send("GET", "/models", {})).json()))

    async def _post(self, image: Picture, parameters: Mapping[str, object]) -> httpx.Response:
        async with self._places:
            body = await asyncio.to_thread(content_of, image)
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
