"""Weights after a trace, held to the authors': for methods whose optimizers are Adam."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pinxit.nn import quick

ROUNDING = 3e-6
"""Gradients below this share of the largest are rounding noise: some tens of units in the last place of fp32."""


@dataclass
class Part:
    """A network in training."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    names: Mapping[str, str]
    """Our name -> the official code's."""
    largest: dict[str, Tensor] = field(default_factory=dict)
    """The largest gradient that each weight ever saw."""

    def watch(self) -> None:
        for name, p in self.network.named_parameters():
            p.register_post_accumulate_grad_hook(lambda p, name=name: self._remember(name, p))

    def _remember(self, name: str, p: Tensor) -> None:
        assert p.grad is not None
        seen = p.grad.abs()
        self.largest[name] = seen if name not in self.largest else torch.maximum(self.largest[name], seen)


@pytest.fixture(params=["by size", "product", "winograd"])
def convolutions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training's convolutions as they are chosen by size, then by each of the quick ways for small networks too."""
    if request.param != "by size":
        monkeypatch.setattr(quick, "A_PIXEL", 0)
        monkeypatch.setattr(quick, "LEAST_WEIGHTS", 0 if request.param == "product" else 1 << 60)
        monkeypatch.setattr(quick, "LEAST_STRIDED", 0)
        monkeypatch.setattr(quick, "LEAST_CHANNELS", 0)
        monkeypatch.setattr(quick, "LEAST_PIXELS", 0)


@pytest.fixture
def compare_weights(
    compare: Callable[[str, float, float], None],
) -> Callable[[dict[str, Part], Path, int], None]:
    """`compare_weights(parts, golden, steps)`: samples of every weight against `final_weights.npz`.

    Adam divides a gradient by its own size, so where the true gradient is 0 (a bias in front of a normalisation)
    rounding noise alone moves a weight by up to the learning rate a step. Such entries are told by the largest gradient
    they ever saw here, against the network's largest, not by name, and held to what two runs can part by.
    """

    def hold(parts: dict[str, Part], golden: Path, steps: int) -> None:
        clear, noisy = [0.0], [0.0]
        with np.load(golden / "final_weights.npz") as final:
            for part, p in parts.items():
                group = p.optimizer.param_groups[0]
                bound = 2 * adam_reach(group["lr"], group["betas"][1], steps)
                state = p.network.state_dict()
                noise = ROUNDING * max(g.max().item() for g in p.largest.values())
                for name, official in p.names.items():
                    key = next(k for k in (f"{part}/{official}", official) if k in final.files)
                    flat, theirs = state[name].flatten(), torch.from_numpy(final[key][2:])
                    places = torch.from_numpy(np.linspace(0, len(flat) - 1, 8).round().astype(np.int64))
                    errors = (flat[places].double() - theirs.double()).abs()
                    if name.endswith("running_mean"):
                        pull = torch.zeros(8)  # it follows the bias in front of it, which is such an entry
                    elif name in p.largest:
                        pull = p.largest[name].flatten()[places]
                    else:
                        pull = torch.ones(8)
                    clear += errors[pull >= noise].tolist()
                    noisy += (errors[pull < noise] / bound).tolist()
        compare(f"weights after {steps} steps ({len(clear) - 1})", max(clear), 1e-4)
        compare(f"of no gradient, to the bound ({len(noisy) - 1})", max(noisy), 1.0)

    return hold


def adam_reach(rate: float, beta2: float, steps: int) -> float:
    """The farthest a weight can move: in step t by sqrt((1 - beta2^t) / (1 - beta2)) rates, its gradient growing."""
    return rate * sum(((1 - beta2**t) / (1 - beta2)) ** 0.5 for t in range(1, steps + 1))


@pytest.fixture
def new_part() -> type[Part]:
    return Part
