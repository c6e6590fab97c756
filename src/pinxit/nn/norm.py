"""Normalisation of activations (batch norm over all ranks, instance norm) and of weights (spectral norm)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class BatchNorm2d(nn.Module):
    """Batch normalisation (Ioffe & Szegedy 2015) whose statistics may span every rank, on CPU as on GPU.

    Why not `torch.nn.SyncBatchNorm`: it refuses CPU tensors, and it fails in a single process. Running statistics
    follow `torch.nn.BatchNorm2d` (momentum 0.1, unbiased variance), so checkpoints agree.

    `sync`: average mean and variance over the ranks of `torch.distributed`; every rank must hold as many pixels.
    `picture_at_test`: in eval mode use each picture's own statistics, as a batch of it alone would have, in place of
    the running ones, which stay untouched.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        channels: int,
        *,
        affine: bool = False,
        sync: bool = True,
        picture_at_test: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.sync, self.picture_at_test, self.eps, self.momentum = sync, picture_at_test, eps, 0.1
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x [N, C, H, W] -> the same shape."""
        if not self.training and self.picture_at_test:
            return F.instance_norm(x, None, None, self.weight, self.bias, use_input_stats=True, eps=self.eps)
        if self.training and self.sync and dist.is_initialized() and dist.get_world_size() > 1:
            return self._over_all_ranks(x)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, self.momentum, self.eps
        )

    def _over_all_ranks(self, x: Tensor) -> Tensor:
        world = dist.get_world_size()
        var, mean = torch.var_mean(x.float(), dim=(0, 2, 3), correction=0)
        # Two sums, the second of squared distances to the common mean: E[x^2] - E[x]^2 would cancel.
        common = _SumOverRanks.apply(mean) / world
        var = _SumOverRanks.apply(var + (mean - common).square()) / world
        with torch.no_grad():
            count = x.numel() // x.shape[1] * world
            self.running_mean.lerp_(common, self.momentum)
            self.running_var.lerp_(var * count / max(count - 1, 1), self.momentum)
        scale = torch.rsqrt(var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -common * scale
        if self.bias is not None:
            shift = shift + self.bias
        return (x * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


class InstanceNorm2d(nn.InstanceNorm2d):
    """Instance normalisation (Ulyanov et al. 2016) whose gradient is right for one picture too.

    On the CPU `F.instance_norm` of PyTorch 2.13 (and none knows how far back) answers a gradient that lies
    channels-last, as that of a convolution after `.to(memory_format=torch.channels_last)` does, with a wrong one where
    the batch is one picture: off by as much as it is large. Batch norm of one picture is the same, and right.
    """

    def forward(self, input: Tensor) -> Tensor:
        """[N, C, H, W] -> the same shape."""
        if len(input) == 1 and not self.track_running_stats:
            return F.batch_norm(input, None, None, self.weight, self.bias, training=True, eps=self.eps)
        return super().forward(input)


class _SumOverRanks(torch.autograd.Function):
    """The sum of every rank's tensor. Each is part of the sum on every rank, so its gradient is the sum of theirs.

    Why not `torch.distributed.nn.functional.all_reduce`: it is deprecated, in favour of a private module.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return _SumOverRanks.apply(grads[0])  # so that a gradient penalty can go back through it once more


class SpectralConv2d(nn.Conv2d):
    """A convolution by `weight / sigma`, sigma being an estimate of its largest singular value (Miyato et al. 2018).

    Every forward in train mode performs one power iteration and keeps its vectors `u` and `v`, also without gradients;
    eval mode uses the stored ones as they are. This is what `torch.nn.utils.spectral_norm`, which the authors' weights
    were trained under, does; the newer parametrisation differs from it in both respects.
    """

    u: Tensor
    v: Tensor

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, bias=bias)
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(inputs * kernel * kernel), dim=0))

    def normalized_weight(self) -> Tensor:
        """[outputs, inputs, kernel, kernel], in fp32 whatever the precision of the forward."""
        with torch.autocast(self.weight.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            if self.training:
                with torch.no_grad():
                    self.v.copy_(F.normalize(torch.mv(matrix.t(), self.u), dim=0, eps=1e-12))
                    self.u.copy_(F.normalize(torch.mv(matrix, self.v), dim=0, eps=1e-12))
            # Clones: the next forward overwrites the buffers before this one's backward has read them.
            sigma = torch.dot(self.u.clone(), torch.mv(matrix, self.v.clone()))
            return self.weight / sigma

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.normalized_weight(), self.bias)
