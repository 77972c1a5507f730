"""Headers of images, read from untrusted bytes without an image library, in bounded time and memory."""

from model.predict.headers.header import FORMATS, Header
from model.predict.headers.read import read_header

__all__ = ["FORMATS", "Header", "read_header"]
