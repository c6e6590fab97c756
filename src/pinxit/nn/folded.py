"""Finished networks of convolutions, several times faster on a CPU: what a module in eval mode computes, put together
from functions that keep none of its structure.

- Batch norm by running statistics is folded into the convolution before it.
- All is done channels-last, where PyTorch's convolutions, and its norms still more, are quicker, and in `dtype`.
- Each convolution is computed in the way that is quickest for its sizes: 3x3 ones of many channels by Winograd's
  algorithm; those of few outputs (the last of each network, of which vector units would use 3 lanes of 16) for 2x2
  pixels at a time; the others by weights that are put in order once (`pinxit.nn.ordered`), or, where they cannot be,
  on tiny pictures as one matrix product, in the weights' own order.

Sums are made in another order than in the module: in fp32, results agree to about 1e-6, not to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.nn.dropout import Dropout
from pinxit.nn.norm import BatchNorm2d
from pinxit.nn.ordered import Ordered
from pinxit.nn.resnet import ResnetBlock
from pinxit.nn.winograd import Winograd

Step = Callable[[Tensor], Tensor]
"""[N, C, H, W] -> [N, C', H', W'], both channels-last."""

TINY = 64
"""Pixels of a picture up to which a convolution is one matrix product."""
LEAST_TINY = 1 << 14
"""Weights of each of its taps at least."""
MOST_WEIGHTS = 1 << 19
"""Weights of a tap up to which they are transformed for F(4x4), which takes 4 times their memory; F(2x2) takes 1.8."""


class Folded:
    """Layers one after the other: [N, C, H, W] of any dtype -> [N, C', H', W'] in `dtype`.

    `layers`: convolutions, norms, activations, padding by reflection, `ResnetBlock`, and sequences of these, in eval
    mode. Raises `ValueError` for another, or for noise.
    """

    def __init__(self, layers: Iterable[nn.Module], dtype: torch.dtype = torch.float32) -> None:
        self.dtype = dtype
        with torch.no_grad():
            self.steps = steps_of(flat(layers), dtype)

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype).contiguous(memory_format=torch.channels_last)
        for step in self.steps:
            x = step(x)
        return x


def flat(layers: Iterable[nn.Module]) -> list[nn.Module]:
    """Sequences taken apart, and what does nothing left out."""
    found: list[nn.Module] = []
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            found += flat(layer)
        elif isinstance(layer, Dropout) and layer.at_test:
            raise ValueError("dropout is on")
        elif not isinstance(layer, nn.Identity | Dropout):
            found.append(layer)
    return found


def steps_of(layers: list[nn.Module], dtype: torch.dtype) -> list[Step]:
    """What each layer of a `flat` list does, some of them together."""
    steps: list[Step] = []
    reflected, rest = 0, list(layers)
    while rest:
        layer = rest.pop(0)
        match layer:
            case nn.ReflectionPad2d():
                reflected = layer.padding[0]
            case nn.Conv2d() | nn.ConvTranspose2d():
                after = rest.pop(0) if rest and folds(rest[0]) else None
                weight, bias = folded_weight(layer, after, dtype)
                if isinstance(layer, nn.Conv2d):
                    steps.append(Conv(weight, bias, layer.stride[0], int(layer.padding[0]), reflected))
                else:
                    steps.append(Transposed(weight, bias, layer))
                reflected = 0
            case ResnetBlock():
                steps.append(Residual(Folded(layer.conv_block, dtype)))
            case _:
                steps.append(step_of(layer))
    return steps


def folds(layer: nn.Module) -> bool:
    """Whether it is a norm that scales and shifts by constants."""
    return isinstance(layer, nn.BatchNorm2d) or (isinstance(layer, BatchNorm2d) and not layer.picture_at_test)


def folded_weight(
    conv: nn.Conv2d | nn.ConvTranspose2d, norm: nn.Module | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a convolution and the norm behind it, if any; channels-last. Shared, where they can be."""
    weight, bias = conv.weight.detach(), None if conv.bias is None else conv.bias.detach()
    if norm is not None:
        assert isinstance(norm, BatchNorm2d | nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        # In double, as rounding it once more would be all that is lost here.
        scale = torch.rsqrt(norm.running_var.double() + norm.eps)
        scale = scale if norm.weight is None else scale * norm.weight.double()
        shift = -norm.running_mean.double() if bias is None else bias.double() - norm.running_mean.double()
        shift = shift * scale if norm.bias is None else shift * scale + norm.bias.double()
        shape = (-1, 1, 1, 1) if isinstance(conv, nn.Conv2d) else (1, -1, 1, 1)
        weight, bias = (weight.double() * scale.view(shape)), shift
    bias = None if bias is None else bias.to(dtype)
    return weight.to(dtype).contiguous(memory_format=torch.channels_last), bias


def step_of(layer: nn.Module) -> Step:
    """A norm of the picture's own statistics, or an activation; what comes in may be overwritten."""
    match layer:
        case nn.ReLU():
            return F.relu_
        case nn.LeakyReLU():
            return partial(F.leaky_relu_, negative_slope=layer.negative_slope)
        case nn.Tanh():
            return torch.tanh_
        case BatchNorm2d():
            return partial(normalized, weight=layer.weight, bias=layer.bias, eps=layer.eps)
        case nn.InstanceNorm2d() if not layer.track_running_stats:
            return partial(normalized, weight=layer.weight, bias=layer.bias, eps=layer.eps)
    raise ValueError(f"no fast form of {type(layer).__name__}")


def normalized(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Instance norm: x [N, C, H, W] -> the same.

    Where channels are last, PyTorch sums a channel's pixels one by one, which loses digits in large pictures. So the
    statistics of each column of pixels are taken, as if there were W * C channels, and then merged.
    """
    one = [_normalized(picture, weight, bias, eps) for picture in x.split(1)]
    return one[0] if len(one) == 1 else torch.cat(one).contiguous(memory_format=torch.channels_last)


def _normalized(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    if x.dtype == torch.bfloat16:  # it is summed in fp32, and that is enough for it
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    _, channels, height, width = x.shape
    columns = x.permute(0, 2, 3, 1).reshape(1, height, 1, width * channels).permute(0, 3, 1, 2)
    means, variances = torch.batch_norm_update_stats(columns, None, None, 0.0)
    means, variances = means.view(width, channels), variances.view(width, channels)
    mean = means.mean(0)
    variance = variances.mean(0) + (means - mean).square().mean(0)
    return F.batch_norm(x, mean, variance, weight, bias, eps=eps)


class Residual:
    """What its layers make of x, and x."""

    def __init__(self, layers: Folded) -> None:
        self.layers = layers

    def __call__(self, x: Tensor) -> Tensor:
        return self.layers(x).add_(x)


class Conv:
    """A convolution: `padding` zeros around the picture, or `reflected` pixels of it."""

    def __init__(self, weight: Tensor, bias: Tensor | None, stride: int, padding: int, reflected: int = 0) -> None:
        """weight [O, C, k, k], channels-last; bias [O]."""
        self.bias, self.stride, self.padding, self.reflected = bias, stride, padding, reflected
        self.ordered = Ordered(weight, bias, stride, padding)
        outputs, self.inputs, self.kernel = weight.shape[:3]
        self.outputs, self.tap = outputs, outputs * self.inputs
        self.winograd: dict[int, Winograd] = {}
        # Several pixels at a time, so that their channels together are 16 or some fewer.
        self.together = 4 if outputs == 1 else 2 if outputs <= 4 else 1
        self.grouped: tuple[Tensor, Tensor | None] | None = None
        if stride == 1 and self.together > 1 and self.kernel > 1:
            self.grouped = grouped(weight, bias, self.together)

    def __call__(self, x: Tensor) -> Tensor:
        """x may be overwritten."""
        if self.reflected:
            x = F.pad(x, (self.reflected,) * 4, mode="reflect")
        margin = 2 * self.padding + 1 - self.kernel
        height, width = ((side + margin - 1) // self.stride + 1 for side in x.shape[2:])
        if self.grouped is not None:
            return self._grouped(x, height, width)
        if len(x) * height * width <= TINY and self.tap >= LEAST_TINY and not self.ordered.orders:
            return self._product(x, height, width)
        tile = 0
        if self.kernel == 3 and self.stride == 1:
            tile = best_tile(self.outputs, self.inputs, height, width, x.dtype)
        if tile:
            if tile not in self.winograd:
                self.winograd[tile] = Winograd(self.ordered.weight, self.bias, tile)
            return self.winograd[tile](F.pad(x, (self.padding,) * 4) if self.padding else x)
        return self.ordered(x)

    def _grouped(self, x: Tensor, height: int, width: int) -> Tensor:
        assert self.grouped is not None
        p, g = self.padding, self.together
        below, right = -height % g, -width % g
        if p or below or right:
            x = F.pad(x, (p, p + right, p, p + below))
        out = F.pixel_shuffle(F.conv2d(x, *self.grouped, stride=g), g)[:, :, :height, :width]
        return out.contiguous(memory_format=torch.channels_last)

    def _product(self, x: Tensor, height: int, width: int) -> Tensor:
        """All patches by all weights. Rows of the kernel that lie in the padding for every patch are left out."""
        k, s, p = self.kernel, self.stride, self.padding
        used = [i for i in range(k) if any(0 <= y * s - p + i < x.shape[2] for y in range(height))]
        first, last = min(used), max(used)
        x = F.pad(x, (p, p, p, p)).contiguous(memory_format=torch.channels_last)
        picture, line, pixel = x.stride(0), x.stride(2), x.shape[1]
        patches = x.as_strided(
            (len(x), height, width, last + 1 - first, k * pixel),
            (picture, s * line, s * pixel, line, 1),
            x.storage_offset() + first * line,
        )
        # A view, where all rows are used.
        weight = self.ordered.weight.permute(0, 2, 3, 1)[:, first : last + 1].flatten(1)
        out = F.linear(patches.reshape(len(x) * height * width, -1), weight, self.bias)
        return out.view(len(x), height, width, -1).permute(0, 3, 1, 2)


class Transposed:
    """A transposed convolution."""

    def __init__(self, weight: Tensor, bias: Tensor | None, conv: nn.ConvTranspose2d) -> None:
        """weight [C, O, k, k], channels-last; bias [O]; all else as `conv` has it."""
        self.bias = bias
        self.stride, self.padding, self.extra = conv.stride[0], int(conv.padding[0]), conv.output_padding[0]
        inputs, self.outputs, self.kernel = weight.shape[:3]
        self.tap = inputs * self.outputs
        self.ordered = Ordered(weight, bias, self.stride, self.padding, self.extra)
        self.few = weight.flatten(1).t().contiguous() if self.outputs <= 4 else None  # [O * k * k, C]

    def __call__(self, x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        k, s, p = self.kernel, self.stride, self.padding
        if self.few is not None:
            # What each pixel gives to those around it, then their sum.
            high, wide = ((side - 1) * s - 2 * p + k + self.extra for side in (height, width))
            pixels = x.permute(0, 2, 3, 1).reshape(n, -1, channels).transpose(1, 2)
            given = torch.matmul(self.few, pixels).to(torch.promote_types(x.dtype, torch.float32))
            out = F.fold(given, (high, wide), k, padding=p, stride=s)
            out = out if self.bias is None else out.add_(self.bias.view(-1, 1, 1))
            return out.to(x.dtype).contiguous(memory_format=torch.channels_last)
        tiny = n * height * width <= TINY and self.tap >= LEAST_TINY
        if (k, s, p, self.extra) == (4, 2, 1, 0) and tiny and not self.ordered.orders:
            return self._product(x)
        return self.ordered(x)

    def _product(self, x: Tensor) -> Tensor:
        """Kernel 4, stride 2, padding 1: what each pixel gives to the 4x4 around it, then the sum of what each is
        given."""
        n, channels, height, width = x.shape
        given = x.permute(0, 2, 3, 1).reshape(-1, channels) @ self.ordered.weight.permute(0, 2, 3, 1).flatten(1)
        given = given.view(n, height, width, 2, 2, 2, 2, self.outputs)
        out = given.new_zeros(n, height + 1, 2, width + 1, 2, self.outputs)  # one pixel more at either side
        # The kernel's i falls on the pixel 2 y + i of those of `out`.
        for i in range(2):
            for j in range(2):
                here = given[:, :, :, i, :, j].permute(0, 1, 3, 2, 4, 5)
                out[:, i : i + height, :, j : j + width] += here
        whole = out.view(n, 2 * height + 2, 2 * width + 2, -1)[:, 1:-1, 1:-1]
        whole = whole.contiguous() if self.bias is None else whole + self.bias
        return whole.permute(0, 3, 1, 2)


def grouped(weight: Tensor, bias: Tensor | None, g: int) -> tuple[Tensor, Tensor | None]:
    """A convolution of stride 1 as one of stride g that gives g x g pixels at once: weight [O, C, k, k] ->
    [O * g * g, C, k + g - 1, k + g - 1], in `pixel_shuffle`'s order."""
    outputs, inputs, k = weight.shape[:3]
    wide = weight.new_zeros(outputs, g, g, inputs, k + g - 1, k + g - 1)
    for i in range(g):
        for j in range(g):
            wide[:, i, j, :, i : i + k, j : j + k] = weight
    wide = wide.flatten(0, 2).contiguous(memory_format=torch.channels_last)
    return wide, None if bias is None else bias.repeat_interleave(g * g)


def best_tile(outputs: int, inputs: int, height: int, width: int, dtype: torch.dtype) -> int:
    """The tile of `Winograd` that is quickest for a 3x3 convolution to so many pixels; 0: none of them."""
    least, pixels = min(inputs, outputs), height * width
    if dtype == torch.bfloat16:  # which F(4x4) would round too coarsely
        return 2 if least >= 256 and pixels >= 64 else 0
    if inputs * outputs <= MOST_WEIGHTS and least >= 96 and pixels >= 256:
        return 4
    return 2 if least >= 256 and pixels >= 64 else 0
