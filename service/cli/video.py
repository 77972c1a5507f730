"""Videos: their frames are segmented in the order in which they are shown, several at once, and drawn into a video."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image

from model.errors import UserError
from service.cli.errors import ServerLost
from service.cli.files import ImageFile
from service.cli.overlay import Look, drawn
from service.cli.progress import progress
from service.cli.results import Listed
from service.cli.work import Answerer, Failures, FileTally

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")  # of the videos that are written
USUAL_RATE = 25  # frames a second, where a video does not say
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """A frame as it is shown, which means turned if the video says so: RGB [height, width, 3]."""

    number: int  # from 0
    pixels: Pixels
    time: Fraction  # seconds

    @property
    def name(self) -> str:
        """What it is called in messages and answers."""
        return f"frame {self.number}"

    def listed_id(self) -> int:
        """Return its number."""
        return self.number

    def read(self) -> bytes:
        """Return it as a file of the same pixels."""
        file = io.BytesIO()
        Image.fromarray(self.pixels).save(file, "PNG", compress_level=1)
        return file.getvalue()


@dataclass(frozen=True)
class Video:
    """A video that is read. Raises UserError, OSError where its file is no video."""

    path: Path

    def files(self) -> list[ImageFile]:
        """Return what its answers are kept under, for each of its packets: as many as it has frames, or more."""
        with _opened(self.path) as (file, stream):
            count = sum(packet.size > 0 for packet in file.demux(stream))
        return [ImageFile(Path(f"frame {number}"), number) for number in range(count)]

    @property
    def rate(self) -> Fraction:
        """The frames a second, on average."""
        with _opened(self.path) as (_, stream):
            return stream.average_rate or Fraction(USUAL_RATE)

    def frames(self) -> Iterator[ShownFrame]:
        """Yield the frames, one of which is in memory at a time."""
        with _opened(self.path) as (file, stream):
            usual = 1 / (stream.average_rate or Fraction(USUAL_RATE))
            stream.thread_type = "AUTO"
            for number, frame in enumerate(file.decode(stream)):
                pixels = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
                pts, base = frame.pts, frame.time_base
                time = number * usual if pts is None or base is None else pts * base
                yield ShownFrame(number, np.ascontiguousarray(pixels), time)


class DrawnVideo:
    """A video that is written, and is there as a whole or not at all."""

    def __init__(self, target: Path, rate: Fraction) -> None:
        self._target = target
        self._draft = target.with_name(f".{target.stem}.part{target.suffix}")
        self._file = av.open(str(self._draft), "w")
        stream = self._file.add_stream(self._file.default_video_codec, rate=rate)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)  # fine enough for any rate
        self._stream = stream

    def add(self, frame: ShownFrame, picture: Pixels) -> None:
        """Write a frame's picture at the frame's time."""
        even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), "edge")
        if not self._stream.codec_context.is_open:
            self._stream.height, self._stream.width = even.shape[:2]
        written = av.VideoFrame.from_ndarray(even, "rgb24")
        base = self._stream.codec_context.time_base
        written.pts, written.time_base = round(frame.time / base), base
        self._file.mux(self._stream.encode(written))

    def finish(self) -> None:
        """Put the video, of a frame at least, into its place."""
        self._file.mux(self._stream.encode(None))
        self._file.close()
        self._draft.replace(self._target)

    def close(self) -> None:
        """Leave nothing behind of a video that was not finished."""
        self._file.close()
        self._draft.unlink(missing_ok=True)


def check_target(target: Path) -> None:
    """Raise UserError unless a video can be written into a file of this name."""
    if target.suffix.lower() not in SUFFIXES:
        raise UserError(f"--overlay {target}: a video is written as {', '.join(SUFFIXES)}")


async def work_on_video(
    answerer: Answerer, look: Look, video: Video, results: Listed, target: Path | None, tally: FileTally
) -> None:
    """Ask for the answer about each frame, keep it, and draw it into `target`.

    Failures are told on standard error, and the frames skipped: they are drawn as they are. Raises ServerLost if there
    is no use in going on, OSError if something cannot be written, UserError if the video cannot be read to its end.
    """
    failures = Failures()

    async def pictured(frame: ShownFrame) -> Pixels | None:
        """Return the frame with its answer, which is kept, drawn on it, if that is wanted."""
        file = ImageFile(Path(frame.name), frame.number)
        if results.has(file):
            tally.earlier += 1
            answer = results.kept(file)
        else:
            try:
                answer = await answerer.answer(frame)
            except ServerLost:
                raise
            # Also the device's errors: those of ONNX Runtime have no base of their own.
            except Exception as error:
                tally.skipped += 1
                failures.tell(frame, error)
                return frame.pixels
            results.keep(file, answer)
            tally.add(answer)
        if target is None:
            return None
        return np.asarray(await asyncio.to_thread(drawn, frame.pixels, answer, look))

    frames = video.frames()
    begun: deque[tuple[ShownFrame, asyncio.Task[Pixels | None]]] = deque()
    try:
        with ExitStack() as stack:
            advance = stack.enter_context(progress(tally.files, "frames"))
            written = None if target is None else stack.enter_context(closing(DrawnVideo(target, video.rate)))

            async def end_first() -> None:
                frame, task = begun.popleft()
                picture = await task
                if written is not None and picture is not None:
                    await asyncio.to_thread(written.add, frame, picture)
                advance()

            tally.files = 0
            while (frame := await asyncio.to_thread(next, frames, None)) is not None:
                tally.files += 1
                begun.append((frame, asyncio.create_task(pictured(frame))))
                if len(begun) == answerer.concurrency:
                    await end_first()
            while begun:
                await end_first()
            if not tally.files:
                raise UserError(f"{video.path} has no frame that can be read")
            if written is not None:
                await asyncio.to_thread(written.finish)
    finally:
        for _, task in begun:
            task.cancel()
        await asyncio.gather(*(task for _, task in begun), return_exceptions=True)
    results.finish()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Yield a file with its first stream of pictures. Raises UserError, OSError."""
    path.open("rb").close()
    try:
        with av.open(str(path)) as file:
            if not file.streams.video:
                raise UserError(f"{path} has no pictures: it is no video")
            yield file, file.streams.video[0]
    except av.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video: {error.strerror}") from error
