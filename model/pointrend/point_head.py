"""The point head: a small MLP shared by all points and regions (paper section 3.3).

Its input at a point is the fine feature joined with the coarse prediction, and every later layer sees the
coarse prediction again. All coarse inputs and the first fine one are linear in what they read, and so is
bilinear interpolation; so for inference both maps are projected once (`project_fine`, `project_coarse`) and
points read the projections: less than half of the work at each point, and only the class that is asked for.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.networks.layers import linear


class PointConfig(Protocol):
    """What a point head is made of: `PointRendMask` for instances, `SemanticPoint` for label maps."""

    @property
    def point_dim(self) -> int: ...
    @property
    def num_point_fc(self) -> int: ...
    @property
    def coarse_each_layer(self) -> bool: ...
    @property
    def class_agnostic(self) -> bool: ...


class PointHead(nn.Module):
    """`num_point_fc` hidden layers with ReLU and a linear predictor.

    Shapes: R regions · P points · C fine channels · K classes · D `point_dim`.
    """

    def __init__(self, fine_channels: int, num_classes: int, config: PointConfig) -> None:
        super().__init__()
        self.fine_channels = fine_channels
        self.coarse_each_layer = config.coarse_each_layer
        repeat = num_classes if config.coarse_each_layer else 0
        widths = [fine_channels + num_classes] + [config.point_dim + repeat] * (config.num_point_fc - 1)
        self.dim = config.point_dim
        self.fc = nn.ModuleList(nn.Linear(width, self.dim) for width in widths)
        self.predictor = linear(self.dim + repeat, 1 if config.class_agnostic else num_classes, std=0.001)
        for layer in self._hidden:
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    @property
    def _hidden(self) -> list[nn.Linear]:
        return [cast(nn.Linear, layer) for layer in self.fc]

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """fine [R, P, C], coarse [R, P, K] → logits [R, P, K] (or [R, P, 1] if class-agnostic)."""
        x = torch.cat([fine, coarse], dim=-1)
        for layer in self.fc:
            x = self._joined(F.relu(layer(x)), coarse)
        logits: Tensor = self.predictor(x)
        return logits

    def project_fine(self, features: Tensor) -> Tensor:
        """The first layer's fine part for a whole map: [B, C, H, W] → [B, H, W, D]."""
        weight = self._hidden[0].weight[:, : self.fine_channels]
        return F.linear(features.permute(0, 2, 3, 1), weight)

    def project_coarse(self, coarse: Tensor, classes: Tensor) -> Tensor:
        """Every layer's coarse part, for a region's own class: [R, K, s, s], [R] → [R, s², L·D + 1].

        Channels: D for each hidden layer that sees the coarse prediction (all L, or the first alone), then the
        predictor's one.
        """
        cells = coarse.flatten(2).transpose(1, 2)
        first, *others = self._hidden
        weights = [first.weight[:, self.fine_channels :]]
        if self.coarse_each_layer:
            weights += [layer.weight[:, self.dim :] for layer in others]
        weight = torch.cat(weights)
        # One plain product: ONNX Runtime's batched one fails where there are no regions.
        parts = [F.linear(cells.flatten(0, 1), weight).view(*cells.shape[:2], len(weight))]
        if self.coarse_each_layer:
            own = self.predictor.weight[self._rows(classes), self.dim :]
            parts.append((cells * own[:, None]).sum(-1, keepdim=True))
        else:
            parts.append(torch.zeros_like(cells[..., :1]))
        return torch.cat(parts, dim=-1)

    def hidden(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """The hidden layers, from projections read at points of any regions: [n, D], [n, L·D + 1] → [n, D]."""
        dim = self.dim
        first, *others = self._hidden
        x = F.relu_((fine + coarse[:, :dim]).add_(first.bias))
        for i, layer in enumerate(others, start=1):
            y = F.linear(x, layer.weight[:, :dim], layer.bias)
            if self.coarse_each_layer:
                y += coarse[:, i * dim : (i + 1) * dim]
            x = F.relu_(y)
        return x

    def class_logits(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """All classes' logits, for label maps: fine projections [n, D], coarse predictions [n, K] → [n, K]."""
        first, *others = self._hidden
        x = F.relu_(F.linear(coarse, first.weight[:, self.fine_channels :], first.bias).add_(fine))
        for layer in others:
            x = F.relu_(layer(self._joined(x, coarse)))
        logits: Tensor = self.predictor(self._joined(x, coarse))
        return logits

    def _joined(self, x: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat([x, coarse], dim=-1) if self.coarse_each_layer else x

    def own_logits(self, hidden: Tensor, coarse: Tensor, classes: Tensor) -> Tensor:
        """The predictor's row of each region's class: hidden [R, P, D], its coarse part [R, P], [R] → [R, P]."""
        rows = self._rows(classes)
        own = self.predictor.weight[rows, : self.dim]
        return torch.bmm(hidden, own[..., None])[..., 0] + self.predictor.bias[rows][:, None] + coarse

    def _rows(self, classes: Tensor) -> Tensor:
        return classes if self.predictor.out_features > 1 else torch.zeros_like(classes)
