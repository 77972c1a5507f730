"""A client of the service: `Client`, and `AsyncClient` for asyncio. It needs nothing of the server's packages."""

from service.client.client import (
    AGAIN,
    AsyncClient,
    Client,
    ClientError,
    Instance,
    Refused,
    Retries,
    Segmentation,
    Unavailable,
)

__all__ = [
    "AGAIN",
    "AsyncClient",
    "Client",
    "ClientError",
    "Instance",
    "Refused",
    "Retries",
    "Segmentation",
    "Unavailable",
]
