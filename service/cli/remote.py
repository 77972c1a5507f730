"""Segmenting files through a server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from model.config.categories import Category
from model.errors import UserError
from pointrend_client import AsyncClient, ClientError, Refused, ServedModel, Unavailable
from pointrend_client.client import CONCURRENCY
from pointrend_client.parameters import Parameters
from service.cli.errors import Failed, ServerLost
from service.cli.files import ImageSource
from service.cli.overlay import Look
from service.http.query.options import parse_options
from service.http.query.parameters import SegmentQuery

GIVEN_UP = CONCURRENCY  # files in a row that it did not answer, after which no other is tried


@dataclass
class Remote:
    """A server at work, and what it is asked for every file."""

    client: AsyncClient
    parameters: Parameters
    look: Look
    _unanswered: int = 0  # files in a row

    @property
    def concurrency(self) -> int:
        """As many as the client sends at once."""
        return CONCURRENCY

    async def answer(self, file: ImageSource) -> bytes:
        """Return the body of the server's answer. Raises UserError, NotListed, Failed, OSError."""
        parameters: Parameters = {**self.parameters, "image_id": file.listed_id()}
        try:
            response = await self.client.post(await asyncio.to_thread(file.read), **parameters)
        except Unavailable as error:
            self._unanswered += 1
            if self._unanswered >= GIVEN_UP:
                raise ServerLost(f"the server answers no more: {error}") from error
            raise Failed(str(error)) from error
        except Refused as error:
            self._unanswered = 0
            raise UserError(str(error)) from error
        self._unanswered = 0
        return response.content


@asynccontextmanager
async def remote(
    url: str, api_key: str | None, query: SegmentQuery, parameters: Parameters
) -> AsyncIterator[Remote]:
    """Yield a server that is asked for the query.

    Raises UserError if the address or the key cannot be used, ParameterError if its model does not allow the query,
    Failed if it does not answer.
    """
    try:
        client = AsyncClient(url, api_key=api_key)
    except ClientError as error:
        raise UserError(f"--url: {error}") from error
    async with client:
        try:
            model = _chosen(await client.models(), query.model)
        except Unavailable as error:
            raise Failed(str(error)) from error
        except ClientError as error:
            raise UserError(f"--url: {url} answers {error}") from error
        categories = tuple(Category(id, name) for id, name in model.categories.items())
        # What the model does not allow is refused once, before the first file.
        parse_options(query, model.task, categories)
        yield Remote(client, parameters, Look(model.task, categories, model.palette))


def _chosen(models: tuple[ServedModel, ...], name: str | None) -> ServedModel:
    """Return the model of this name, or the first. Raises UserError if there is none."""
    found = models[0] if name is None else next((each for each in models if each.name == name), None)
    if found is None:
        names = ", ".join(each.name for each in models)
        raise UserError(f"--model: the server has no model {name!r}; it has {names}")
    return found
