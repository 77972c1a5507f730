"""Segmenting files through a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from service.cli.offline import NotListed
from service.client import AsyncClient, ClientError
from service.client.parameters import Parameters
from service.http.parameters import Ask

CONCURRENCY = 4  # requests at once: enough to keep a server's device busy while others decode


@dataclass(frozen=True)
class Remote:
    """A server, and what to ask of it for every file."""

    url: str
    api_key: str | None
    parameters: Parameters

    async def segment(self, work: Sequence[tuple[Path, Ask | None]]) -> list[Any | Exception]:
        """For each file the answer as JSON (or a picture's bytes), or why there is none."""
        places = asyncio.Semaphore(CONCURRENCY)
        async with AsyncClient(self.url, api_key=self.api_key) as client:
            with tqdm(total=len(work), unit="image", disable=len(work) == 1) as progress:

                async def one(file: Path, ask: Ask | None) -> Any | Exception:
                    async with places:
                        try:
                            if ask is None:
                                raise NotListed(f"{file.name} is not in the annotations")
                            parameters: Parameters = {**self.parameters, "image_id": ask.image_id}
                            response = await client.post(file, **parameters)
                            return response.content if parameters.get("format") == "png" else response.json()
                        except (ClientError, NotListed, OSError) as error:  # this file's own trouble
                            return error
                        finally:
                            progress.update()

                return list(await asyncio.gather(*(one(*each) for each in work)))
