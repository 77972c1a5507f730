"""Which parameters train at which rate, and how the rate moves over a run."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from model.training.recipe import Schedule


def lr_factor(step: int, recipe: Schedule) -> float:
    """Return the learning rate relative to its peak: linear warm-up, then a cosine to 0 or steps to a tenth."""
    if recipe.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * min(step / recipe.steps, 1.0)))
    else:
        factor = 0.1 ** sum(step >= share * recipe.steps for share in recipe.milestones)
    if step < recipe.warmup_steps:
        share = step / recipe.warmup_steps
        factor *= recipe.warmup_factor * (1 - share) + share
    return factor


def optimizer(network: nn.Module, recipe: Schedule) -> torch.optim.Optimizer:
    """Return SGD or AdamW over what trains: no weight decay on norms, a rate of its own for the trunk."""
    # By name: timm has norms of its own that share no class with torch's.
    norms = {
        id(parameter)
        for part in network.modules()
        if "norm" in type(part).__name__.lower()
        for parameter in part.parameters(recurse=False)
        if parameter.ndim == 1
    }
    # By what the members are, not by their rates, so that a resumed run can change these.
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            kind = name.startswith("backbone.trunk."), id(parameter) in norms
            groups.setdefault(kind, []).append(parameter)
    options = []
    for (in_trunk, is_norm), members in groups.items():
        rate = recipe.lr * (recipe.backbone_lr if in_trunk else 1.0)
        decay = 0.0 if is_norm else recipe.weight_decay
        options.append({"params": members, "lr": rate, "initial_lr": rate, "weight_decay": decay})
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(options, fused=True)
    return torch.optim.SGD(options, momentum=0.9)


def rates(optimiser: torch.optim.Optimizer, recipe: Schedule, step: int = 0) -> LambdaLR:
    """Return the scheduler that sets the learning rates, which it does at once for the given step."""
    return LambdaLR(optimiser, lambda done: lr_factor(done, recipe), last_epoch=step - 1)
