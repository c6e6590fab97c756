"""What networks cost: operations and kept memory, counted without computing anything; speed, timed on little."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode


class Saved:
    """The memory that autograd keeps for the backward pass of what is computed within `noting()`, but for weights."""

    def __init__(self) -> None:
        self.storages: dict[int, torch.UntypedStorage] = {}

    def noting(self) -> saved_tensors_hooks:
        return saved_tensors_hooks(self.note, lambda saved: saved)

    def note(self, saved: Tensor) -> Tensor:
        if not isinstance(saved, nn.Parameter):
            self.storages[saved.untyped_storage()._cdata] = saved.untyped_storage()
        return saved

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self.storages.values())


def counted(network: nn.Module, *x: Tensor) -> tuple[float, int]:
    """Operations of a forward pass, and bytes that it keeps for the backward one; of a network on the meta device."""
    saved = Saved()
    with FlopCounterMode(display=False) as counter, saved.noting():
        network(*(part.requires_grad_() for part in x))
    return float(counter.get_total_flops()), saved.bytes


def speed(network: nn.Module, x: Tensor) -> float:
    """Operations a second of a forward and a backward pass of `x`, a small picture on the network's device."""
    training = network.training
    network.eval()  # batch norm must not learn from it
    weights = [p for p in network.parameters() if p.requires_grad]
    seconds, counter = 0.0, FlopCounterMode(display=False)
    for _ in range(2):  # the first one warms up
        with counter:
            begun = time.perf_counter()
            torch.autograd.grad(network(x).square().mean(), weights)[0].sum().item()  # waits for the device
            seconds = time.perf_counter() - begun
    network.train(training)
    return counter.get_total_flops() / seconds
