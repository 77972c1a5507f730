"""The reference implementation's (detectron2's) YAML configuration as a configuration of ours.

Every key is one of three: it configures our network, it must have a value that our network has built in, or
it cannot change a prediction. Anything else is refused, so that no setting is dropped silently.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from model.checkpoints.detectron2 import instance_keys, semantic_keys
from model.checkpoints.detectron2.keys import ARCHITECTURE
from model.checkpoints.detectron2.yaml_file import ReferenceConfigError, read
from model.config.network import NetworkConfig

Given = Mapping[str, Any]  # keys with dots → values as they stand in the file

# By META_ARCHITECTURE: the values of all keys that count, with what is wrong; and the network of values without faults.
_READERS: Mapping[
    str, tuple[Callable[[Given], tuple[dict[str, Any], list[str]]], Callable[[Given], NetworkConfig]]
] = {
    instance_keys.NAME: (instance_keys.settled, instance_keys.config),
    semantic_keys.NAME: (semantic_keys.settled, semantic_keys.config),
}


def config_from_yaml(path: str | Path) -> NetworkConfig:
    """Return the network that the reference builds from this file; keys left out have the reference's defaults.

    Raises ReferenceConfigError that lists everything our network cannot do, by name and value.
    """
    path = Path(path)
    given = read(path)
    # An unknown architecture is among the faults that the instance reader lists.
    settled, config = _READERS.get(str(given.get(ARCHITECTURE)), _READERS[instance_keys.NAME])
    values, problems = settled(given)
    if problems:
        raise ReferenceConfigError(f"{path.name} cannot be used: " + "; ".join(problems))
    return config(values)
