"""The project's Prometheus in a hurry: a copy of its files in which minutes are seconds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import yaml

from tests.docker.tools import DOCKER

INTERVAL = 2  # seconds between scrapes, and between evaluations of rules
WINDOW = 30  # seconds of each rate and average
RESTARTS = 240  # seconds to look back for restarts: a service may take that long to start on a busy machine


def in_a_hurry(folder: Path) -> Path:
    """Write the copy, and return the file for Compose that mounts it."""
    copy = folder / "prometheus"
    shutil.copytree(DOCKER / "prometheus", copy)
    config = yaml.safe_load((copy / "prometheus.yml").read_text())
    times = ("scrape_interval", "scrape_timeout", "evaluation_interval")
    config["global"] = dict.fromkeys(times, f"{INTERVAL}s")
    for job in config["scrape_configs"]:
        for found in job.get("dns_sd_configs", ()):
            found["refresh_interval"] = f"{INTERVAL}s"
    (copy / "prometheus.yml").write_text(yaml.safe_dump(config))
    for file in (copy / "rules").iterdir():
        text = re.sub(r"(changes\(.*)\[\d+m\]", rf"\1[{RESTARTS}s]", file.read_text())
        text, changed = re.subn(r"\[\d+[mh]\]", f"[{WINDOW}s]", text)
        assert changed
        file.write_text(re.sub(r"for: \d+[mh]\b", f"for: {INTERVAL}s", text))
    mounted = {
        "prometheus.yml": "/etc/prometheus/prometheus.yml",
        "rules": "/etc/prometheus/rules",
    }
    volumes = [f"{copy / name}:{place}:ro" for name, place in mounted.items()]
    override = folder / "hurry.yml"
    override.write_text(yaml.safe_dump({"services": {"prometheus": {"volumes": volumes}}}))
    for path in (folder, *folder.rglob("*")):  # for Prometheus' own user
        path.chmod(0o755 if path.is_dir() else 0o644)
    return override
