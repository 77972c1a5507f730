"""The settings of a service: of the command line, environment variables POINTREND_…, or a TOML file, in this order."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from model.command_line import DEBUG
from model.errors import UserError
from service.machine import available
from service.setting_values import Address, Origins, RootPath, Secrets, Split

PREFIX = "POINTREND_"
ImageFormat = Literal["JPEG", "PNG", "WebP", "GIF", "TIFF", "BMP"]  # those of model/predict/headers
_SECRETS = ("api_keys", "label_studio_token")  # what no message may show


class Settings(BaseSettings):
    """The settings of one service. Keyword arguments win over the environment, and the environment over the file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    config: Path | None = Field(default=None, description="TOML file with settings by these names.")
    bundles: Annotated[tuple[Path, ...], NoDecode, Split] = Field(
        default=(), description="Folders of exported models, comma-separated; the first is the default."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen at; :: is all, of IPv6 and IPv4.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen at; 0 picks one.")
    root_path: RootPath = Field(
        default="", description="Path below which a proxy has the service, such as /vision. Unset: none."
    )
    address_file: Path | None = Field(
        default=None,
        description="File to write the address into, such as http://127.0.0.1:8000, once it listens.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where models run; auto: on a GPU that works, else on the CPU."
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        default="auto",
        description="auto: bf16 on a CPU that has it, in the coarse pass only if OpenVINO is installed, else fp32; "
        "bf16: the same, but OpenVINO must be installed.",
    )
    spin: bool = Field(
        default=False,
        description="Whether ONNX Runtime's threads wait for work without sleeping: for a machine with one service.",
    )
    threads: int = Field(
        default=0, ge=0, description="0: as many as the CPU affinity and the cgroup's quota allow."
    )

    max_wait_ms: float = Field(
        default=5.0,
        ge=0,
        description="How long the first request of a batch waits for others that are being decoded.",
    )
    batch_pixels: int | None = Field(
        default=None,
        ge=1,
        description="Padded pixels of a coarse pass; one image is always allowed. "
        "Unset: 600000 on a CPU, where larger batches are no faster, 4500000 on CUDA.",
    )
    step_points: int | None = Field(
        default=None,
        ge=1,
        description="Work of a step of the renderer, in points; one mask, or a part of it, is always allowed. "
        "Unset: 6272 on a CPU, and as many as fit into a quarter of a GPU's free memory.",
    )

    queue_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Predicted work of the requests inside, of all models together, beyond which others are "
        "answered 429. One may have half of it.",
    )
    queue_length: int = Field(
        default=64,
        ge=1,
        description="Number of requests inside, of all models together, beyond which others are answered 429.",
    )
    degrade_at: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the queue beyond which masks are coarser: of side 112 at most. Unset: never.",
    )
    deadline_ms: int | None = Field(
        default=None, ge=1, description="Deadline of requests that name none. Unset: none."
    )

    max_body_bytes: int = Field(default=25_000_000, ge=1, description="Bytes of a request's body.")
    memory_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Memory of the service, from which the four budgets below follow. "
        "Unset: what the cgroup allows, or what the machine has.",
    )
    held_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Bytes of the bodies of all requests in memory, beyond which requests are answered 429.",
    )
    decode_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Memory for decoding images, of all requests; an image that needs more is refused.",
    )
    render_bytes: int | None = Field(
        default=None, ge=1, description="Memory for masks, of all requests; one that needs more is refused."
    )
    encode_bytes: int | None = Field(
        default=None,
        ge=1,
        description="Memory for encoding answers, of all requests together; an answer that needs more than all of it "
        "is refused.",
    )
    keep_bytes: int = Field(
        default=100_000_000,
        ge=0,
        description="Memory for what is kept of pictures so that windows of their masks can be rendered; 0: none is.",
    )
    keep_seconds: int = Field(
        default=300, ge=1, le=86_400, description="Seconds for which a request may have its picture kept."
    )
    max_connections: int | None = Field(
        default=None,
        ge=1,
        description="Open connections. Beyond this number the connection that has been idle for the longest time is "
        "closed for a new one; if none is idle, the new one is refused. Unset: what the limit of open files allows.",
    )
    formats: Annotated[tuple[ImageFormat, ...], NoDecode, Split] = Field(
        default=get_args(ImageFormat),
        min_length=1,
        description="Image formats that are accepted, comma-separated.",
    )
    body_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time for a client to send a request's headers, and again for its body.",
    )
    answer_seconds: float = Field(
        default=60.0, gt=0, description="Time for a client to take its answer; then its connection is closed."
    )
    max_pixels: int = Field(default=64_000_000, ge=1, description="Pixels of an image, by its header.")
    exact_pixels: bool = Field(
        default=False,
        description="Whether JPEG images at least twice as large as the network's input are decoded at their full "
        "size, as the evaluation does; that takes twice as long.",
    )
    decode_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Seconds after which decoding an image is ended. Its CPU time is limited as well, by a prediction "
        "from the image's header. Large images are decoded at a low priority.",
    )
    max_points: int = Field(
        default=4_000_000, ge=1, description="Work that the masks of one request may need at most, in points."
    )

    api_keys: Annotated[Secrets, NoDecode] = Field(
        default=(), description="Keys that clients must send, comma-separated. Unset: none is needed."
    )
    api_keys_file: Path | None = Field(default=None, description="File with more keys, one a line.")
    cors_origins: Annotated[Origins, NoDecode] = Field(
        default=(),
        description="Origins whose web pages may ask, such as https://app.example, comma-separated; * is every one. "
        "Unset: none, and no CORS headers.",
    )

    label_studio_url: Address | None = Field(
        default=None,
        description="Address of a Label Studio, such as https://label-studio.example, for which /label-studio is an ML "
        "backend. Unset: there is none.",
    )
    label_studio_token: SecretStr | None = Field(
        default=None, description="Token with which pictures are fetched from Label Studio, of either kind."
    )
    label_studio_token_file: Path | None = Field(default=None, description="File with that token.")
    label_studio_seconds: float = Field(
        default=90.0,
        gt=0,
        description="Time for all tasks of one request of Label Studio, which itself waits for 100 s.",
    )

    page: bool = Field(
        default=True,
        description="Whether / is the page that segments pictures in a browser; else it leads to /docs.",
    )
    grace_seconds: int = Field(
        default=30, ge=0, description="After SIGTERM, time to finish what was accepted."
    )
    stuck_seconds: float = Field(
        default=120.0, gt=0, description="A pass of the device that takes longer makes /healthz answer 503."
    )
    access_log: bool = Field(default=True, description="A line of JSON a request, on standard output.")
    traces: bool = Field(
        default=False, description="OpenTelemetry traces (extra `traces`), sent where OTEL_… variables say."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)
        path = init_settings.init_kwargs.get("config") or os.environ.get(f"{PREFIX}CONFIG")
        file = () if path is None else (TomlConfigSettingsSource(settings_cls, path),)
        return (init_settings, env_settings, *file)

    def on(self, device: Literal["cpu", "cuda"]) -> Settings:
        """Return these settings with the device on which models run, now that it is known."""
        return self.model_copy(update={"device": device})

    @property
    def batch_budget(self) -> int:
        """The padded pixels of a coarse pass."""
        return self.batch_pixels or (4_500_000 if self.device == "cuda" else 600_000)

    @property
    def thread_budget(self) -> int:
        """The number of threads for ONNX Runtime and torch, which take turns."""
        return self.threads or available()


def read_settings(**given: object) -> Settings:
    """Return the settings; a None is not given. Raise UserError with a line for each mistake."""
    values = {name: value for name, value in given.items() if value is not None}
    path = values.get("config") or os.environ.get(f"{PREFIX}CONFIG")
    if path is not None and not Path(str(path)).is_file():
        raise UserError(f"config: there is no file {path}")
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise UserError("\n".join(_line(found) for found in error.errors())) from error
    except ValueError as error:  # the TOML file cannot be parsed
        raise UserError(f"config: {path}: {error}") from error


def check_environment() -> None:
    """Raise UserError with a line for each variable POINTREND_… of the environment that no setting reads.

    POINTREND_API_KEY is one of them: it is the client's.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {DEBUG}
    lines = []
    for name in sorted(os.environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            near = difflib.get_close_matches(name.upper(), known, 1)
            lines.append(f"{name}: there is no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    if lines:
        raise UserError("\n".join(lines))


def _line(found: object) -> str:
    assert isinstance(found, dict)
    name = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        return f"{name}: there is no such setting; there are: {', '.join(Settings.model_fields)}"
    secret = name.startswith(_SECRETS)
    return f"{name}: {found['msg']}" + ("" if secret else f", got {str(found['input'])[:80]!r}")


def described() -> str:
    """Return every setting with its default, for `serve --help`."""
    lines = []
    for name, field in Settings.model_fields.items():
        default = "" if field.default in (None, ()) else f" [{field.default}]"
        lines.append(f"{PREFIX}{name.upper()}{default}\n    {field.description}")
    return "\n".join(lines)
