"""Trunks of the timm library, and how an ImageNet classifier fills them."""

from __future__ import annotations

from typing import Any, cast

import timm
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional as F

from model.config.parts import TimmConfig
from model.errors import UserError
from model.networks.layers import hold_statistics

STRIDES = (4, 8, 16, 32)  # of an undilated trunk's features


class TrunkConv(nn.Conv2d):
    """A convolution of a timm model that exports and trains well: "same" padding is constant, gradients are fast.

    TensorFlow's "same" padding depends on the input's size, which timm computes at every call and no exporter can
    follow; for inputs whose sides the stride divides, which all are here, it is constant. And oneDNN's gradients of
    depthwise convolutions take 2 to 20 times as long in bf16, so those that train compute in single precision.
    """

    same = False  # whether it pads as TensorFlow does, beside `padding`

    @staticmethod
    def like(conv: nn.Conv2d) -> TrunkConv:
        """Return a convolution of the same shape that shares the weights."""
        inputs, outputs, groups = conv.in_channels, conv.out_channels, conv.groups
        # On no device, so that no random weights are drawn.
        made = TrunkConv(inputs, outputs, 1, groups=groups, bias=False, device="meta")
        made.kernel_size, made.stride, made.dilation = conv.kernel_size, conv.stride, conv.dilation
        made.padding, made.weight, made.bias = conv.padding, conv.weight, conv.bias
        made.same = isinstance(conv, Conv2dSame)
        return made

    @property
    def pads(self) -> tuple[int, ...]:
        """Cells before and after each side, the last side first, as `F.pad` takes them; empty without "same"."""
        pads: tuple[int, ...] = ()
        if self.same:
            for kernel, stride, dilation in zip(self.kernel_size, self.stride, self.dilation, strict=True):
                total = max(dilation * (kernel - 1) + 1 - stride, 0)
                pads = (total // 2, total - total // 2, *pads)
        return pads

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.pads) if self.same else x
        trains = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        if self.groups > 1 and trains and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return super().forward(x.float())
        return super().forward(x)


class TimmTrunk(nn.Module):
    """Features at strides 4, 8, 16 and 32 of a timm model; its BatchNorm statistics stay as they are.

    With an `output_stride` below 32 the later stages are dilated instead of strided.
    Raises UserError for a model without such features, or that is bound to one size of images.
    """

    def __init__(self, config: TimmConfig, output_stride: int = 32) -> None:
        super().__init__()
        # Not every model knows the argument, so it is left out where nothing is dilated.
        dilated: dict[str, Any] = {} if output_stride == 32 else {"output_stride": output_stride}
        try:
            self.net = cast(Any, timm.create_model(config.name, features_only=True, **dilated))
        except RuntimeError as error:  # there is no such model
            raise UserError(f"no timm backbone {config.name!r}: {error}") from error
        for name, part in list(self.net.named_modules()):
            if isinstance(part, Conv2dSame) or (isinstance(part, nn.Conv2d) and part.groups > 1):
                self.net.set_submodule(name, TrunkConv.like(part))
        self.strides = tuple(min(stride, output_stride) for stride in STRIDES)
        self.taken = self._take(config.name)
        self.channels = tuple(self.net.feature_info.channels()[i] for i in self.taken)
        self._freeze(config)
        if not next(self.parameters()).is_meta:
            self._try(config.name)

    def _take(self, name: str) -> list[int]:
        """Return which of the model's features are used: the next one of each stride, since dilated ones repeat it."""
        reductions, taken, missing = self.net.feature_info.reduction(), [-1], []
        for stride in self.strides:
            later = [i for i, s in enumerate(reductions) if s == stride and i > taken[-1]]
            taken += later[:1]
            missing += [] if later else [stride]
        if missing:
            raise UserError(f"{name} has no features at strides {missing}, only {reductions}")
        return taken[1:]

    def _freeze(self, config: TimmConfig) -> None:
        """Fix all parameters up to the last one of the feature with stride 2**freeze_at, if undilated."""
        info = self.net.feature_info.info
        info = info[: self.taken[config.freeze_at - 2] + 1] if config.freeze_at >= 2 else info
        last = [entry["module"] for entry in info if entry["reduction"] <= 2**config.freeze_at][-1:]
        # timm's wrappers flatten the names of the parts or put the whole model one level down.
        names = {name for part in last for name in (part, part.replace(".", "_"), f"model.{part}")}
        inside = tuple(f"{name}." for name in names)
        parts = list(self.net.named_modules())
        end = max((i for i, (n, _) in enumerate(parts) if n in names or n.startswith(inside)), default=-1)
        frozen = [p for _, part in parts[: end + 1] for p in part.parameters(recurse=False)]
        if config.freeze_at > 0 and not frozen:
            raise UserError(f"freeze_at {config.freeze_at} matches no parameter of {config.name}")
        for parameter in frozen:
            parameter.requires_grad_(False)

    def _try(self, name: str) -> None:
        """Raise UserError if the trunk is bound to one size of images or its features are not [B, C, H, W].

        In evaluation mode, so that nothing random is drawn and no statistic moves.
        """
        height, width = 64, 96
        self.eval()
        try:
            with torch.no_grad():
                shapes = [tuple(x.shape) for x in self(torch.zeros(1, 3, height, width))]
        except Exception as error:  # each trunk has its own way to refuse a size
            reason = str(error).partition("\n")[0]
            raise UserError(f"{name} does not take images of any size: {reason}") from error
        wanted = [(1, c, height // s, width // s) for c, s in zip(self.channels, self.strides, strict=True)]
        if shapes != wanted:
            raise UserError(f"{name} gives maps of {shapes} instead of [B, C, H, W] {wanted}")
        self.train()

    def train(self, mode: bool = True) -> TimmTrunk:
        super().train(mode)
        hold_statistics(self)
        return self

    def forward(self, image: Tensor) -> list[Tensor]:
        features = self.net(image)
        return [features[i] for i in self.taken]


def load_imagenet(trunk: TimmTrunk, state: dict[str, Tensor]) -> None:
    """Fill a timm trunk from a classifier of the same architecture whose tensors stand in the same order.

    The classifier's names may be another library's; tensors are matched by order and every shape is checked.
    Raises UserError at the first tensor that does not fit. The classifier's tail (head) is left over.
    """
    wanted = trunk.net.state_dict()
    given = list(state.items())
    if len(given) < len(wanted):
        raise UserError(f"the classifier has {len(given)} tensors, the trunk needs {len(wanted)}")
    matched = {}
    for (name, tensor), (source, value) in zip(wanted.items(), given, strict=False):
        if tensor.shape != value.shape:
            raise UserError(f"{source} {tuple(value.shape)} does not fit {name} {tuple(tensor.shape)}")
        matched[name] = value.to(torch.float32) if value.is_floating_point() else value
    trunk.net.load_state_dict(matched)
