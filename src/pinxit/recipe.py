"""The contract between a method and the training loop.

A method is a `Recipe`: networks, optimizers and an objective. It yields `Stage`s; a stage's `step` performs one whole
iteration (discriminators and generators) and returns the losses to log. The loop in `pinxit.training` owns time, disk
and screen; the recipe owns the maths.

What makes a cut run end bit-equal to an uncut one: all that must survive is module state or optimizer state; batches
and noise are pure functions of the seed and the step; rates are pure functions of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim.adam import adam

from pinxit.modelfile import ModelFile


@dataclass(frozen=True)
class Stage:
    """A stretch of training with one kind of iteration."""

    name: str
    steps: int
    batches: Callable[[int], Iterator[Any]]
    """`batches(start)` yields the batches of steps start, start + 1, ...: tuples or NamedTuples of CPU tensors."""
    step: Callable[[Any, int], dict[str, Tensor]]
    """`step(batch, i)` performs iteration i and returns its losses, detached scalars."""


@dataclass(frozen=True)
class Forecast:
    """What a training will take on this machine, before it starts."""

    seconds: float
    memory: float
    """Bytes of activations and pictures, about; the interpreter and PyTorch itself come on top."""
    others: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Preset -> the same two numbers, of those that take less."""


class Recipe(nn.Module):
    """A method in training. Its sub-modules are saved and restored, as are its `optimizers`."""

    optimizers: dict[str, torch.optim.Optimizer]
    bf16: bool = False
    """Whether it is made to be trained in bf16, where --precision does not say."""
    foretold: Forecast | None = None
    """What `forecast` said, if it was asked: at its end a run is held against it."""

    def stages(self) -> Iterator[Stage]:
        """The stages in order. A stage that grows the networks does so before it is yielded."""
        raise NotImplementedError

    def forecast(self) -> Forecast | None:
        """What training it will take, on the device it is on; None where it cannot tell."""
        return None

    def preview(self) -> Tensor | None:
        """Pictures [rows, columns, 3, H, W] in [-1, 1] that show the state of training; None: nothing to show."""
        raise NotImplementedError

    def model_file(self) -> ModelFile:
        """What painting needs, without what only training does."""
        raise NotImplementedError


def update(optimizer: torch.optim.Optimizer, loss: Tensor, *, retain_graph: bool = False) -> None:
    """Descend `loss` once: the only place that calls `backward()`. Gradients are averaged over the ranks.

    `retain_graph`: keep what the loss was computed from, for another loss of the same.
    """
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(loss.device.type, enabled=False):
        loss.backward(retain_graph=retain_graph)
    if world_size() > 1:
        grads = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        # One message: a round trip for each of some hundred tensors would cost more than the sum itself.
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= world_size()
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad))
    optimizer.step()
    # Autocast keeps its bf16 copies of the weights until it ends; the rest of this step must see the new ones.
    torch.clear_autocast_cache()


class Adam(torch.optim.Adam):
    """Adam (Kingma & Ba 2015) by PyTorch's fused kernel: a weight and its moments are read and written once a step.

    The same numbers but for rounding in the last place, and the same state. The kernel goes through the memory of all
    four tensors side by side, without a look at how they lie: those of a weight that became channels-last after its
    first step it would mix up, and of others it makes copies. So each is handed over as the plain run of numbers that
    it is, after one that lies otherwise than the weight was laid out anew.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Move every weight that has a gradient. `closure` is not supported."""
        assert closure is None
        for group in self.param_groups:
            weights, grads, means, squares, steps = ([] for _ in range(5))
            runs = (weights, grads, means, squares)
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["step"] = torch.zeros((), dtype=torch.float32)
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                lies = torch.contiguous_format if p.is_contiguous() else torch.channels_last
                for name in ("exp_avg", "exp_avg_sq"):
                    state[name] = state[name].contiguous(memory_format=lies)
                state["step"] = state["step"].to(p.device)
                steps.append(state["step"])
                four = (p, p.grad.contiguous(memory_format=lies), state["exp_avg"], state["exp_avg_sq"])
                for run, x in zip(runs, four, strict=True):
                    run.append((x if lies == torch.contiguous_format else x.permute(0, 2, 3, 1)).view(-1))
            if steps:
                options = {name: group[name] for name in ("lr", "weight_decay", "eps", "amsgrad", "maximize")}
                beta1, beta2 = group["betas"]
                adam(weights, grads, means, squares, [], steps, fused=True, beta1=beta1, beta2=beta2, **options)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Within the block no gradient is computed for the weights of `modules`; gradients still flow through them."""
    weights = [p for m in modules for p in m.parameters() if p.requires_grad]
    for p in weights:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in weights:
            p.requires_grad_(True)


def linear_decay(step: int, start: int, end: int) -> float:
    """1 until `start`, then linearly down to 0 at `end`; a `start` below 0 means never."""
    return 1.0 if start < 0 or step < start else max(0.0, (end - step) / max(end - start, 1))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def step_noise(seed: int, step: int, draw: int, rows: int, *shape: int, device: torch.device | str) -> Tensor:
    """Standard normal noise [rows, *shape], a pure function of `seed`, `step` and the number of the `draw` in the step.

    Every rank draws the whole batch's noise and takes its own rows, so that n ranks see what one would; the draw is
    made on the CPU, so that every device does.
    """
    noise = torch.randn(rows * world_size(), *shape, generator=step_generator(seed, step, draw))
    return noise[rank() * rows : (rank() + 1) * rows].to(device)


def step_generator(seed: int, step: int, draw: int) -> torch.Generator:
    """A generator on the CPU for one of a step's draws, for what `step_noise` cannot draw; the same on every rank."""
    return torch.Generator().manual_seed(((seed * 1_000_003 + step) * 16 + draw) % (1 << 63))


def state_on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A detached copy of a state dict on the CPU, contiguous, as files want it."""
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}
