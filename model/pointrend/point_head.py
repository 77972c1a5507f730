"""The point head: a small MLP that all points and regions share (paper section 3.3).

Its input at a point is the fine feature joined with the coarse prediction, and every later layer sees the coarse
prediction again. All coarse inputs and the fine input of the first layer are linear in what they read, and so is
bilinear interpolation. For inference both maps are therefore projected once (`project_fine`, `project_coarse`), and
points read the projections: that is less than half of the work at each point, and only the class that is asked for is
predicted.

Shapes:  R regions · P points · n points of any regions · C fine channels · K classes · D `point_dim`
         L hidden layers that see the coarse prediction (all of them, or the first alone)
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PointConfig(Protocol):
    """What a point head is made of: `PointRendConfig` for instances, `SemanticPointConfig` for label maps."""

    @property
    def point_dim(self) -> int: ...
    @property
    def num_point_fc(self) -> int: ...
    @property
    def coarse_each_layer(self) -> bool: ...
    @property
    def class_agnostic(self) -> bool: ...


class PointHead(nn.Module):
    """`num_point_fc` hidden layers with ReLU, and a linear predictor."""

    def __init__(self, fine_channels: int, num_classes: int, config: PointConfig) -> None:
        super().__init__()
        self.fine_channels = fine_channels
        self.coarse_each_layer = config.coarse_each_layer
        repeat = num_classes if config.coarse_each_layer else 0
        widths = [fine_channels + num_classes] + [config.point_dim + repeat] * (config.num_point_fc - 1)
        self.dim = config.point_dim
        self.fc = nn.ModuleList(nn.Linear(width, self.dim) for width in widths)
        self.predictor = nn.Linear(self.dim + repeat, 1 if config.class_agnostic else num_classes)
        # Reference behaviour: Kaiming (fan out) for hidden layers, a narrow normal distribution for the predictor.
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)
        for layer in self._hidden:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    @property
    def _hidden(self) -> list[nn.Linear]:
        return [cast(nn.Linear, layer) for layer in self.fc]

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return logits [R, P, K] (or [R, P, 1] if class-agnostic) from fine [R, P, C] and coarse [R, P, K].

        This is the head as published, used in training. Inference uses the methods below, which give the same.
        """
        x = torch.cat([fine, coarse], dim=-1)
        for layer in self.fc:
            x = self._with_coarse(F.relu(layer(x)), coarse)
        logits: Tensor = self.predictor(x)
        return logits

    def project_fine(self, features: Tensor) -> Tensor:
        """Return the first layer's fine part for a whole map: [B, C, H, W] → [B, H, W, D]."""
        weight = self._hidden[0].weight[:, : self.fine_channels]
        return F.linear(features.permute(0, 2, 3, 1), weight)

    def coarse_terms(self, coarse: Tensor) -> Tensor:
        """Return what the coarse predictions [n, K] add to every hidden layer that sees them: [n, L·D]."""
        first, *others = self._hidden
        weights = [first.weight[:, self.fine_channels :]]
        if self.coarse_each_layer:
            weights += [layer.weight[:, self.dim :] for layer in others]
        return F.linear(coarse, torch.cat(weights) if len(weights) > 1 else weights[0])

    def project_coarse(self, coarse: Tensor, classes: Tensor) -> Tensor:
        """Return the coarse masks [R, K, s, s] projected for the regions' own classes [R]: [R, s², L·D + 1].

        The columns are `coarse_terms`, then what the coarse prediction adds to the predictor of the region's class.
        """
        cells = coarse.flatten(2).transpose(1, 2)
        # One plain product, because ONNX Runtime's batched one fails where there are no regions.
        terms = self.coarse_terms(cells.flatten(0, 1))
        parts = [terms.view(*cells.shape[:2], terms.shape[-1])]
        if self.coarse_each_layer:
            own = self.predictor.weight[self._rows(classes), self.dim :]
            parts.append((cells * own[:, None]).sum(-1, keepdim=True))
        else:
            parts.append(torch.zeros_like(cells[..., :1]))
        return torch.cat(parts, dim=-1)

    def hidden(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Return the last hidden features [n, D], from what was read at n points of any regions.

        fine: [n, D] read from `project_fine`; its memory is reused. coarse: [n, ≥ L·D] with `coarse_terms` in its first
        columns.
        """
        dim = self.dim
        first, *others = self._hidden
        x = F.relu_(fine.add_(coarse[:, :dim]).add_(first.bias))
        for i, layer in enumerate(others, start=1):
            y = F.linear(x, layer.weight[:, :dim], layer.bias)
            if self.coarse_each_layer:
                y += coarse[:, i * dim : (i + 1) * dim]
            x = F.relu_(y)
        return x

    def own_logits(self, hidden: Tensor, coarse: Tensor, classes: Tensor) -> Tensor:
        """Return logits [R, P] of each region's own class [R].

        hidden: [R, P, D]. coarse: [R, P], what the coarse prediction adds (the last column of `project_coarse`).
        """
        rows = self._rows(classes)
        own = self.predictor.weight[rows, : self.dim]
        return torch.bmm(hidden, own[..., None])[..., 0] + self.predictor.bias[rows][:, None] + coarse

    def all_logits(self, hidden: Tensor, coarse: Tensor) -> Tensor:
        """Return logits [n, K] of every class, from hidden [n, D] and the coarse predictions [n, K] themselves."""
        logits: Tensor = self.predictor(self._with_coarse(hidden, coarse))
        return logits

    def _with_coarse(self, x: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat([x, coarse], dim=-1) if self.coarse_each_layer else x

    def _rows(self, classes: Tensor) -> Tensor:
        return classes if self.predictor.out_features > 1 else torch.zeros_like(classes)
