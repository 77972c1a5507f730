"""What the operator may set: environment variables POINTREND_…, or the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.threads import available


class Settings(BaseSettings):
    """Settings of one service; keyword arguments win over the environment."""

    model_config = SettingsConfigDict(env_prefix="POINTREND_", frozen=True, extra="forbid")

    bundles: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(), description="Folders of exported models, comma-separated; the first is the default."
    )
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(
        default=0, ge=0, description="0: as many as the CPU affinity and the cgroup's quota allow."
    )
    max_wait_ms: float = Field(
        default=5.0, ge=0, description="How long the first of a batch waits for company."
    )
    batch_pixels: int = Field(
        default=4_500_000, ge=1, description="Padded pixels of a coarse batch; one image is always allowed."
    )
    queue_length: int = Field(
        default=64, ge=1, description="Requests a model has at once, before it answers 429."
    )
    max_body_bytes: int = Field(default=25_000_000, ge=1)
    max_pixels: int = Field(default=50_000_000, ge=1)
    max_points: int = Field(
        default=4_000_000, ge=1, description="Points that the masks of one request may need at most."
    )

    @field_validator("bundles", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @property
    def thread_budget(self) -> int:
        """Shared by ONNX Runtime and torch, which take turns."""
        return self.threads or available()
