"""Segmenting files through a server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from model.errors import UserError
from service.cli.files import ImageFile, NotListed
from service.cli.progress import progress
from service.client import AsyncClient, ClientError
from service.client.parameters import Parameters
from service.output.format import Content
from service.output.formats import DEFAULT, FORMATS

CONCURRENCY = 4  # requests at once: enough to keep a server's device busy while it decodes other images


@dataclass(frozen=True)
class Remote:
    """A server, and what it is asked for every file."""

    url: str
    api_key: str | None
    parameters: Parameters

    async def segment(self, files: Sequence[ImageFile]) -> list[Content | Exception]:
        """Return the answer for each file, or why there is none. Raises UserError if the address is no URL."""
        places = asyncio.Semaphore(CONCURRENCY)
        try:
            async with AsyncClient(self.url, api_key=self.api_key) as client:
                with progress(len(files)) as advance:
                    work = (self._one(client, places, file, advance) for file in files)
                    return list(await asyncio.gather(*work))
        except httpx.InvalidURL as error:
            raise UserError(f"--url: {error}") from error

    async def _one(
        self, client: AsyncClient, places: asyncio.Semaphore, file: ImageFile, advance: Callable[[], None]
    ) -> Content | Exception:
        async with places:
            try:
                parameters: Parameters = {**self.parameters, "image_id": file.listed_id()}
                response = await client.post(file.path, **parameters)
            except ClientError as error:
                return UserError(str(error))
            except (NotListed, OSError) as error:  # concerns this file alone
                return error
            finally:
                advance()
        if not FORMATS[parameters.get("format", DEFAULT)].is_json:
            return response.content
        payload: Content = response.json()
        return payload
