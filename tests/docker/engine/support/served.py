"""How many photos one replica has segmented, asked from inside its container: no port of a replica is published."""

from __future__ import annotations

from tests.docker.engine.support.project import Project

ASK = """
import urllib.request
for line in urllib.request.urlopen("http://127.0.0.1:8000/metrics", timeout=60).read().decode().splitlines():
    if line.startswith('pointrend_request_seconds_count{route="/segment",status="200"} '):
        print(line.split()[-1])
"""


def served(project: Project, container: str) -> int:
    """Return the number of good answers of a replica since its start."""
    return int(float(project.run_in(container, "python", "-c", ASK) or 0))
