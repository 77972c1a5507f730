"""The configuration of a network of any task, and its way to JSON and back.

A configuration travels inside its checkpoint. A third task is one more member of `NetworkConfig`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from model.config.instance import MaskRCNNConfig
from model.config.overrides import override
from model.config.semantic import SemanticConfig
from model.errors import UserError

Task = Literal["instance", "semantic"]
NetworkConfig = MaskRCNNConfig | SemanticConfig

_ADAPTER: TypeAdapter[NetworkConfig] = TypeAdapter(
    Annotated[NetworkConfig, Field(discriminator="type")],
    config=ConfigDict(extra="forbid", strict=True),
)
_PROBLEMS = {
    "unexpected_keyword_argument": "unknown key {name}",
    "missing": "missing key {name}",
    "union_tag_not_found": "missing key {name}.type",
    "union_tag_invalid": "{name}.type is {tag!r}, not one of {expected_tags}",
}


def config_to_dict(config: NetworkConfig) -> dict[str, Any]:
    """Return a JSON-ready dictionary of a configuration; every part carries its class's name under "type"."""
    data: dict[str, Any] = _ADAPTER.dump_python(config, mode="json")
    return data


def config_from_dict(data: dict[str, Any]) -> NetworkConfig:
    """Return the configuration of a dictionary; inverse of `config_to_dict`. Keys with a default may be left out.

    Raises UserError that names each unknown or missing key, and each value that does not fit its key.
    """
    try:
        # By JSON's rules: a list becomes a tuple, but "3" is no number.
        return _ADAPTER.validate_json(json.dumps(data))
    except ValidationError as error:
        problems = (
            _PROBLEMS.get(problem["type"], "{name}: {message}").format(
                name=_dotted(data, problem["loc"]),
                message=problem["msg"].removeprefix("Value error, "),
                **problem.get("ctx", {}),
            )
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise UserError("configuration: " + "; ".join(problems)) from None


def changed(config: NetworkConfig, changes: Sequence[str]) -> NetworkConfig:
    """Return the configuration with changes by name (see `override`). Raises UserError if a value does not fit."""
    result = override(config, changes)
    config_from_dict(asdict(result))  # a dataclass itself does not compare its values with their types
    return result


def _dotted(data: Any, location: tuple[int | str, ...]) -> str:
    """Return "network.backbone.depth" for ("ModelConfig", "backbone", "ResNet", "depth").

    pydantic puts the tag of a union's member behind the name of the part; tags are left out here.
    """
    names, tag = ["network"], data.get("type")
    for name in location:
        if tag is not None and name == tag:
            tag = None  # a part has one tag; a key of the same name may follow it
            continue
        names.append(str(name))
        data = data.get(name) if isinstance(data, dict) else None
        tag = data.get("type") if isinstance(data, dict) else None
    return ".".join(names)
