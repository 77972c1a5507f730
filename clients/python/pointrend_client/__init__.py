"""A client of the service: `Client`, and `AsyncClient` for asyncio."""

from pointrend_client.client import AsyncClient, Client
from pointrend_client.errors import ClientError, Refused, Unavailable
from pointrend_client.explanation import EvaluatedCells, Explanation
from pointrend_client.pictures import KeptImage, Picture
from pointrend_client.results import Instance, Segment, Segmentation, ServedModel
from pointrend_client.retries import AGAIN, Retries

__all__ = [
    "AGAIN",
    "AsyncClient",
    "Client",
    "ClientError",
    "EvaluatedCells",
    "Explanation",
    "Instance",
    "KeptImage",
    "Picture",
    "Refused",
    "Retries",
    "Segment",
    "Segmentation",
    "ServedModel",
    "Unavailable",
]
