"""`python -m bench.speed.decoding [KIND…]`: memory and time that decoding takes, beside what is forecast by the header.

Every picture is decoded in a process of its own, as the service does it. Memory is the highest resident set above that
of the idle process, the file included. Linux only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.speed.picture_kinds import KINDS, picture
from model.predict.forecast import forecast
from model.predict.headers import read_header
from model.predict.images import decode_resized

SIZES = ((1500, 2000), (4000, 6000))  # 3 and 24 megapixels
INPUT = (800, 1200)  # height and width that pictures are resized to
_CALM = 0.05  # seconds for a started process to come to rest


@dataclass(frozen=True)
class Measured:
    bytes: int  # highest resident set above the idle process's
    forecast_bytes: int
    seconds: float  # of CPU
    forecast_seconds: float


def measured_here(path: Path) -> Measured:
    """Decode a file in this process, which must be new."""
    time.sleep(_CALM)
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident set is counted anew
    data, start = path.read_bytes(), time.process_time()
    header = read_header(data)
    decode_resized(data, header, INPUT)
    seconds, expected = time.process_time() - start, forecast(header, INPUT)
    return Measured(_resident("VmHWM") - before, expected.bytes, seconds, expected.seconds)


def measured(data: bytes) -> Measured:
    """Decode a file in a process of its own."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "bench.speed.decoding", "--file", file.name],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
        )
    return Measured(**json.loads(done.stdout))


def _resident(name: str) -> int:
    """Return a line of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))


def main() -> None:
    """Print a table. With `--file FILE`, print that file's figures as JSON instead."""
    if sys.argv[1:2] == ["--file"]:
        print(json.dumps(asdict(measured_here(Path(sys.argv[2])))))
        return
    print("| picture | megapixels | file, MB | memory, MB | forecast | × | CPU, s | forecast | × |")
    print("|---|---|---|---|---|---|---|---|---|")
    for height, width in SIZES:
        pixels = picture(height, width)
        for name in sys.argv[1:] or KINDS:
            data = KINDS[name](pixels)
            f = measured(data)
            print(
                f"| {name} | {height * width / 1e6:.0f} | {len(data) / 1e6:.1f} "
                f"| {f.bytes / 1e6:.1f} | {f.forecast_bytes / 1e6:.1f} | {f.forecast_bytes / f.bytes:.2f} "
                f"| {f.seconds:.3f} | {f.forecast_seconds:.3f} | {f.forecast_seconds / f.seconds:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
