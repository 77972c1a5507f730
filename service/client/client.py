"""A client of the service: `Client`, and `AsyncClient` for asyncio.

    with Client("http://127.0.0.1:8000") as client:
        found = client.segment("photo.jpg", resolution=224)
        for instance in found.instances:
            instance.mask  # bool [height, width]

    ClientError
    ├── Refused       trying again would not change it (4xx, 500); `problem` says what is wrong
    └── Unavailable   429, 502, 503, 504, a 500 not of the service's own, no connection; also after the last attempt

Requests only read, so every one of them may be sent again; Retry-After is honoured.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Unpack

import httpx
import numpy as np
from numpy.typing import NDArray

from service.client.parameters import LabelMap, Masks, Parameters
from service.client.results import Instance, Segmentation, parse, read_label_map

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "Instance",
    "Refused",
    "Retries",
    "Segmentation",
    "Unavailable",
]

Image = bytes | str | Path
AGAIN = frozenset((429, 502, 503, 504))
LONGEST_WAIT = 60.0  # s, between two attempts


class ClientError(Exception):
    """See the module. `problem` is the service's problem+json, empty if there is none."""

    def __init__(self, message: str, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.problem = dict(problem or {})


class Refused(ClientError):
    """Trying again would not help."""


class Unavailable(ClientError):
    """It might work later, or elsewhere."""


@dataclass(frozen=True)
class Retries:
    """How often to try, and how long to wait: Retry-After if it is given, else twice as long each time."""

    attempts: int = 5
    first_wait: float = 0.2  # s

    def waits(self) -> Iterator[float]:
        """Seconds before each further attempt, unless the service says otherwise."""
        for n in range(self.attempts - 1):
            # Jitter, so that clients who were refused together do not come back together.
            yield min(LONGEST_WAIT, self.first_wait * 2**n * random.uniform(0.5, 1.5))


class Client:
    """Blocking. `parameters` are those of POST /segment, as `service/client/parameters.py` lists them."""

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

    def segment(self, image: Image, **parameters: Unpack[Masks]) -> Segmentation:
        """Masks of an image: its bytes, or a path. Raises ClientError, OSError."""
        return parse(self._post(image, {**parameters, "format": "rle"}).json())

    def label_map(self, image: Image, **parameters: Unpack[LabelMap]) -> NDArray[np.uint8]:
        """Of a semantic model: the position of each cell's class, [height, width]; 255 where it was not asked for."""
        return read_label_map(self._post(image, {**parameters, "format": "png"}).content)

    def post(self, image: Image, **parameters: Unpack[Parameters]) -> httpx.Response:
        """The successful answer as it is, for other formats. Raises ClientError, OSError."""
        return self._post(image, parameters)

    def _post(self, image: Image, parameters: Mapping[str, object]) -> httpx.Response:
        body = _bytes(image)
        waits = self._retries.waits()
        while True:
            response: httpx.Response | httpx.TransportError
            try:
                response = self._http.post("/segment", **_asked(body, parameters))
            except httpx.TransportError as error:
                response = error
            wait = _verdict(response, waits)
            if isinstance(wait, httpx.Response):
                return wait
            time.sleep(wait)


class AsyncClient:
    """The same for asyncio."""

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

    async def segment(self, image: Image, **parameters: Unpack[Masks]) -> Segmentation:
        """Masks of an image: its bytes, or a path. Raises ClientError, OSError."""
        return parse((await self._post(image, {**parameters, "format": "rle"})).json())

    async def label_map(self, image: Image, **parameters: Unpack[LabelMap]) -> NDArray[np.uint8]:
        """As `Client.label_map`."""
        return read_label_map((await self._post(image, {**parameters, "format": "png"})).content)

    async def post(self, image: Image, **parameters: Unpack[Parameters]) -> httpx.Response:
        """The successful answer as it is, for other formats. Raises ClientError, OSError."""
        return await self._post(image, parameters)

    async def _post(self, image: Image, parameters: Mapping[str, object]) -> httpx.Response:
        body = await asyncio.to_thread(_bytes, image)
        waits = self._retries.waits()
        while True:
            response: httpx.Response | httpx.TransportError
            try:
                response = await self._http.post("/segment", **_asked(body, parameters))
            except httpx.TransportError as error:
                response = error
            wait = _verdict(response, waits)
            if isinstance(wait, httpx.Response):
                return wait
            await asyncio.sleep(wait)


def _verdict(
    response: httpx.Response | httpx.TransportError, waits: Iterator[float]
) -> httpx.Response | float:
    """The response if it is good, or seconds until the next attempt. Raises ClientError."""
    if isinstance(response, httpx.Response):
        if response.is_success:
            return response
        problem = _problem(response)
        message = f"{response.status_code}: {problem.get('detail', response.reason_phrase)}"
        # What stands before the service (Ray, some proxies) answers a bare 500 when a replica dies.
        if response.status_code not in AGAIN and (response.status_code != 500 or problem):
            raise Refused(message, problem)
        failure = Unavailable(message, problem)
        asked = response.headers.get("retry-after", "")
    else:
        failure, asked = Unavailable(f"no answer: {response!r}"), ""
        if isinstance(response, httpx.ReadTimeout):
            raise failure  # it is being computed; once more would take as long
    wait = next(waits, None)
    if wait is None:
        raise failure
    # Those refused together shall not come back together.
    return min(LONGEST_WAIT, float(asked) * random.uniform(1, 1.5)) if asked.isdecimal() else wait


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        found = response.json()
    except ValueError:  # a proxy's own page
        return {}
    return found if isinstance(found, dict) else {}


def _headers(api_key: str | None) -> dict[str, str]:
    return {} if api_key is None else {"authorization": f"Bearer {api_key}"}


def _bytes(image: Image) -> bytes:
    return image if isinstance(image, bytes) else Path(image).read_bytes()


def _asked(body: bytes, parameters: Mapping[str, object]) -> dict[str, Any]:
    """What httpx is to send. Boxes go into a form: a thousand of them are too long for a URL."""
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
