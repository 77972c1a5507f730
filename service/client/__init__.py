"""A client of the service: `Client`, and `AsyncClient` for asyncio. It needs nothing of the server's packages."""

from service.client.client import AsyncClient, Client
from service.client.errors import ClientError, Refused, Unavailable
from service.client.pictures import Picture
from service.client.results import Instance, Segment, Segmentation, ServedModel
from service.client.retries import AGAIN, Retries

__all__ = [
    "AGAIN",
    "AsyncClient",
    "Client",
    "ClientError",
    "Instance",
    "Picture",
    "Refused",
    "Retries",
    "Segment",
    "Segmentation",
    "ServedModel",
    "Unavailable",
]
