"""The point head: a small MLP that all points and regions share (paper section 3.3).

Its input at a point is the fine feature joined with the coarse prediction, and every later layer sees the coarse
prediction again. All coarse inputs and the fine input of the first layer are linear in what they read, and so is
bilinear interpolation. For inference both maps are therefore projected once (`project_fine`, `project_coarse`), and
points read the projections: that is less than half of the work at each point, and only the class that is asked for is
predicted.

Shapes:  R regions · P points · n points of any regions · C fine channels · K classes · D `point_dim`
         E channels of the coarse prediction: K and, behind them, those of context (none of label maps)
         L hidden layers that see the coarse prediction (all of them, or the first alone)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.pointrend.products import relu_of_product


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
    @property
    def context(self) -> int: ...


class PointHead(nn.Module):
    """`num_point_fc` hidden layers with ReLU, and a linear predictor."""

    def __init__(self, fine_channels: int, num_classes: int, config: PointConfig) -> None:
        super().__init__()
        self.fine_channels = fine_channels
        self.coarse_each_layer = config.coarse_each_layer
        seen = num_classes + config.context
        repeat = seen if config.coarse_each_layer else 0
        widths = [fine_channels + seen] + [config.point_dim + repeat] * (config.num_point_fc - 1)
        self.dim = config.point_dim
        # Of the products of the hidden layers at inference. What is read, and the logits, are in full precision.
        self.precision = torch.float32
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
        """Return logits [R, P, K] (or [R, P, 1] if class-agnostic) from fine [R, P, C] and coarse [R, P, E].

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
        """Return what the coarse predictions [n, E] add to every hidden layer that sees them: [n, L·D]."""
        return F.linear(coarse, self._coarse_weight)

    @property
    def _coarse_weight(self) -> Tensor:
        """The columns [L·D, E] of all hidden layers that the coarse predictions are multiplied with."""
        first, *others = self._hidden
        weights = [first.weight[:, self.fine_channels :]]
        if self.coarse_each_layer:
            weights += [layer.weight[:, self.dim :] for layer in others]
        return torch.cat(weights) if len(weights) > 1 else weights[0]

    def project_coarse(self, coarse: Tensor, classes: Tensor) -> Tensor:
        """Return the coarse predictions [R, E, s, s] projected for the regions' own classes [R]: [R, s², L·D + 1].

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

    def unproject_coarse(self, projected: Tensor, classes: Tensor) -> Tensor:
        """Return the logits [R, s²] of the regions' own classes [R] from what `project_coarse` made of them.

        The projection is linear, and has more columns than the prediction has channels. So nothing was lost in it but
        by rounding, and the least squares are the prediction itself.
        """
        weight = self._coarse_weight.double()
        inverse = torch.linalg.pinv(weight.T @ weight, hermitian=True) @ weight.T
        logits: Tensor = (projected[..., :-1].double() * inverse[classes][:, None]).sum(-1)
        return logits.to(projected.dtype)

    def coarse_term(self, coarse: Tensor, layer: int) -> Tensor:
        """Return what the coarse predictions [n, K] add to a hidden layer that sees them, with its bias: [n, D]."""
        own = self._hidden[layer]
        weight = own.weight[:, self.fine_channels if layer == 0 else self.dim :]
        return F.linear(coarse, weight, own.bias).to(self.bias(layer).dtype)

    def bias(self, layer: int) -> Tensor:
        """Return the bias [D] of a hidden layer, in the precision of its sums: the first layer has no product left."""
        bias = self._hidden[layer].bias
        return bias if layer == 0 else bias.to(self.precision)

    def hidden(self, fine: Tensor, term: Callable[[int], Tensor]) -> Tensor:
        """Return the last hidden features [n, D] in full precision, from what was read at n points of any regions.

        fine: [n, D] read from `project_fine`. term(i): [n, D], what the coarse prediction adds to layer i < L, with the
        layer's bias and in its precision. The memory of both is reused.
        """
        x = F.relu_(fine.add_(term(0))).to(self.precision)
        for i, layer in enumerate(self._hidden[1:], start=1):
            weight = layer.weight[:, : self.dim].to(self.precision)
            x = relu_of_product(x, weight, term(i) if self.coarse_each_layer else self.bias(i))
        return x if x.dtype == fine.dtype else fine.copy_(x)

    def own_logits(self, hidden: Tensor, coarse: Tensor, classes: Tensor) -> Tensor:
        """Return logits [R, P] of each region's own class [R], in full precision.

        hidden: [R, P, D]. coarse: [R, P], what the coarse prediction adds (the last column of `project_coarse`).
        """
        rows = self._rows(classes)
        own = self.predictor.weight[rows, : self.dim]
        # A row times a matrix: MKL takes four times as long for a matrix times a column.
        logits = torch.baddbmm(coarse[:, None], own[:, None], hidden.mT)[:, 0]
        return logits + self.predictor.bias[rows, None]

    def all_logits(self, hidden: Tensor, coarse: Tensor) -> Tensor:
        """Return logits [n, K] of every class, from hidden [n, D] and the coarse predictions [n, K] themselves."""
        logits: Tensor = self.predictor(self._with_coarse(hidden, coarse))
        return logits

    def _with_coarse(self, x: Tensor, coarse: Tensor) -> Tensor:
        return torch.cat([x, coarse], dim=-1) if self.coarse_each_layer else x

    def _rows(self, classes: Tensor) -> Tensor:
        return classes if self.predictor.out_features > 1 else torch.zeros_like(classes)
