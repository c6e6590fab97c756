"""Dropout whose masks can be told in advance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) with probability `p`: in training, and with `at_test` in eval mode too.

    Within `masks_of` a mask is drawn from the generator given there, for the whole batch of all ranks, of which each
    takes its own rows; so neither a resumed run nor the number of processes changes it. Elsewhere PyTorch's global
    generator draws it.
    """

    def __init__(self, p: float = 0.5, at_test: bool = False) -> None:
        super().__init__()
        self.p, self.at_test = p, at_test
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[N, ...] -> the same shape."""
        if not (self.training or self.at_test):
            return x
        if self.generator is None:
            return F.dropout(x, self.p, training=True)
        return x * self._mask(x, self.generator)  # pyright: ignore[reportCallIssue] - the decorator hides its type

    @torch.compiler.disable  # a generator is no part of a graph
    def _mask(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """0 or 1 / (1 - p) for each value; drawn on the CPU, as every device shall have the same."""
        world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        rows = len(x)
        kept = torch.rand(rows * world, *x.shape[1:], generator=generator)[rank * rows : (rank + 1) * rows] >= self.p
        return kept.to(x.device, x.dtype) / (1 - self.p)


@contextmanager
def masks_of(network: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Within the block every `Dropout` in `network` draws from `generator` (on the CPU), in the order of the calls."""
    layers = [module for module in network.modules() if isinstance(module, Dropout)]
    for layer in layers:
        layer.generator = generator
    try:
        yield
    finally:
        for layer in layers:
            layer.generator = None
