"""The budgets of memory: how many bytes each kind of work may take, of all requests together.

What a setting names is used as it is. The others follow from the memory that the service may use: a quarter of it stays
free, because predictions are not exact and allocators keep some of what was freed; the process itself takes what it
takes; kept pictures may take what their setting says; and the rest is divided in fixed shares. Settings that do not fit
each other are refused before anything starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from model.errors import UserError
from service.settings import Settings

# Bytes of the process with its models and what their passes keep: 0.6 GB after the start, up to 1.2 GB at work with two
# models on a CPU, and 1.5 GB in bf16: what is beyond 1 GB is part of the free quarter. CUDA's libraries take more of
# the host's memory.
PROCESS: Mapping[str, int] = {"cpu": 1_000_000_000, "cuda": 2_000_000_000}
USED = 0.75  # share of the memory that the process and all default budgets may take together
# Half is for decoding, so that in 4 GiB a WebP picture of 64 megapixels, which takes 1.05 GB, is not refused.
SHARES: Mapping[str, float] = {"held": 1 / 8, "decode": 1 / 2, "render": 3 / 16, "encode": 3 / 16}
# Bytes in which a small picture, such as the golden one, can be decoded, rendered and encoded.
LEAST: Mapping[str, int] = {"decode": 50_000_000, "render": 20_000_000, "encode": 37_000_000}


@dataclass(frozen=True)
class Budgets:
    """Bytes that each kind of work may take, of all requests together."""

    memory: int  # of the whole service
    held: int  # bodies of requests
    decode: int  # decoding images, in the processes that do it
    render: int  # masks and label maps that are being rendered
    encode: int  # encoding answers
    keep: int  # what is kept of pictures after their answers


def plan(settings: Settings, memory: int) -> Budgets:
    """Return the budgets of a service that may use `memory` bytes, or less if the settings say so.

    Raises UserError with one line that says what fits if the settings do not fit each other or the memory.
    """
    total = memory if settings.memory_bytes is None else settings.memory_bytes
    if total > memory:
        raise UserError(f"memory_bytes: {_size(total)} is more than the {_size(memory)} that are there")
    given: dict[str, int | None] = {name: getattr(settings, f"{name}_bytes") for name in SHARES}
    least = {"held": settings.max_body_bytes, **LEAST}
    process, keep = PROCESS.get(settings.device, PROCESS["cpu"]), settings.keep_bytes
    room = max(0.0, total * USED - process - keep)
    chosen = {
        name: int(share * room) if (size := given[name]) is None else size for name, share in SHARES.items()
    }
    for name, size in given.items():
        if size is not None and size < least[name]:
            raise UserError(
                f"{name}_bytes: {_size(size)} is too little: it must be at least {_size(least[name])}"
                + (", which is max_body_bytes" if name == "held" else "")
            )
    if any(chosen[name] < least[name] for name in SHARES):
        rooms = (least[name] / SHARES[name] for name in SHARES if given[name] is None)
        raise UserError(
            f"memory_bytes: {_size(total)} is too little: with these settings, among them max_body_bytes "
            f"{_size(settings.max_body_bytes)}, it must be at least {_size((max(rooms) + process + keep) / USED)}"
        )
    if sum(chosen.values()) + process + keep > total:
        largest = max((name for name in SHARES if given[name] is not None), key=chosen.__getitem__)
        fits = total - process - keep - sum(chosen.values()) + chosen[largest]
        remedy = (
            f"{largest}_bytes may be at most {_size(fits)} with the others as they are"
            if fits >= least[largest]
            else f"held, decode, render and encode may have {_size(max(0, total - process - keep))} together"
        )
        sizes = ", ".join(f"{name} {_size(size)}" for name, size in (chosen | {"keep": keep}).items())
        raise UserError(
            f"the budgets ({sizes}) and the process itself ({_size(process)}) do not fit into {_size(total)}: {remedy}"
        )
    return Budgets(total, **chosen, keep=keep)


def describe(budgets: Budgets) -> str:
    """Return one line that says how the memory is divided."""
    sizes = {field.name: _size(getattr(budgets, field.name)) for field in fields(budgets)}
    return (
        "memory {memory}: up to {held} for bodies, {decode} for decoding, {render} for masks, {encode} for answers, "
        "{keep} for kept pictures"
    ).format(**sizes)


def _size(count: float) -> str:
    """Return a number of bytes for people, rounded to three digits."""
    for unit, bytes_of in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= 0.9995 * bytes_of:
            return f"{count / bytes_of:.3g} {unit}"
    return f"{count:.0f} bytes"
