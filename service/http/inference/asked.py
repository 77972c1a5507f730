"""What an inference asks for, besides its image: parameters of /segment, and which outputs in which form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.engine.errors import ParameterError
from service.http.body.json_reader import text_parameters
from service.http.query.echo import cut

ANSWER = "answer"
INSTANCES = ("boxes", "scores", "classes")  # outputs of instance models alone
OUTPUTS: Mapping[str, tuple[str, ...]] = {"instance": (ANSWER, *INSTANCES), "semantic": (ANSWER,)}
_MEMBERS = ("id", "parameters", "inputs", "outputs")
# Of Triton: a request's place in a sequence or among others. Every model here is without state, and serves all alike.
_WITHOUT_EFFECT = ("sequence_id", "sequence_start", "sequence_end", "priority")
MICROSECONDS = 1000  # of a millisecond


@dataclass(frozen=True)
class AskedInference:
    """What the JSON of an inference says. `binary`: the wanted outputs, and whether each comes behind the JSON."""

    id: str | None
    parameters: Mapping[str, Any]
    binary: Mapping[str, bool]


def parse_inference(members: Mapping[str, Any], task: str) -> AskedInference:
    """Return what the JSON of an inference asks of a model of this task. Raises Problem, ParameterError."""
    for name in members:
        if name not in _MEMBERS:
            raise ParameterError(name, f"there is no such member; allowed: {', '.join(_MEMBERS)}")
    id = members.get("id")
    if id is not None and not isinstance(id, str):
        raise ParameterError("id", "must be a string")
    given = members.get("parameters") or {}
    if not isinstance(given, dict):
        raise ParameterError("parameters", "must be an object")
    parameters = text_parameters(given)
    for name in _WITHOUT_EFFECT:
        parameters.pop(name, None)
    binary = parameters.pop("binary_data_output", False)
    if not isinstance(binary, bool):
        raise ParameterError("binary_data_output", "must be true or false")
    _set_deadline(parameters)
    return AskedInference(id, parameters, _outputs(members.get("outputs"), OUTPUTS[task], binary))


def _set_deadline(parameters: dict[str, Any]) -> None:
    """Write `timeout`, in microseconds, as our own parameter. 0 is no limit, as for Triton."""
    timeout = parameters.pop("timeout", 0)
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 0:
        raise ParameterError("timeout", f"must be a number of microseconds, got {str(timeout)[:80]!r}")
    if not timeout:
        return
    if "deadline_ms" in parameters:
        raise ParameterError("timeout", "is the same as deadline_ms; send one")
    parameters["deadline_ms"] = max(1, timeout // MICROSECONDS)


def _outputs(given: Any, known: Sequence[str], binary: bool) -> dict[str, bool]:
    """Return the wanted outputs, all if none is named. Raises ParameterError for what there is not."""
    if not given and (given is None or isinstance(given, list)):
        return dict.fromkeys(known, binary)
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise ParameterError("outputs", "must be a list of objects")
    found: dict[str, bool] = {}
    for each in given:
        name = each.get("name")
        if name not in known:
            raise ParameterError(
                "outputs", f"there is no {cut(str(name))!r}; this model has {', '.join(known)}"
            )
        if name in found:
            raise ParameterError("outputs", f"{name} is asked for several times")
        found[name] = _is_binary(each, binary)
    return found


def _is_binary(output: Mapping[str, Any], usual: bool) -> bool:
    parameters = output.get("parameters") or {}
    if not isinstance(parameters, dict) or not parameters.keys() <= {"binary_data"}:
        raise ParameterError("outputs", "the parameters of an output may be binary_data alone")
    found = parameters.get("binary_data", usual)
    if not isinstance(found, bool):
        raise ParameterError("outputs", "binary_data must be true or false")
    return found
