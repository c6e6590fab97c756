"""What a step of training draws at random: functions of seed and step, of which every process takes its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pinxit.data.squares import rows_of
from pinxit.models.stylegan2.network import GROUP, Generator, mixed
from pinxit.nn.diffaugment import DRAWS, Policy, diff_augment
from pinxit.recipe import rank, step_generator, world_size


@dataclass(frozen=True)
class Draws:
    """Of one training; `draw` tells generations of a step apart, each of which takes three numbers from there on."""

    seed: int
    mixing: float
    """How often two w are mixed."""
    policy: Sequence[Policy]
    """Of DiffAugment."""

    def inputs(self, G: Generator, step: int, draw: int, rows: int) -> tuple[Tensor, list[Tensor]]:
        """What one generation is made of: w or w+, and each layer's noise."""
        at = self.mix_at(G, step, draw)
        w = [G.mapping(z) for z in self.latents(G, step, draw, rows, 1 if at is None else 2)]
        return w[0] if at is None else mixed(w[0], w[1], at, G.options.latents), self.noise(G, step, draw, rows)

    def mix_at(self, G: Generator, step: int, draw: int) -> int | None:
        """How many layers have the first of two w; None where one has them all. Of the whole batch alike."""
        generator = step_generator(self.seed, step, draw + 2)
        if torch.rand((), generator=generator).item() >= self.mixing:
            return None
        return int(torch.randint(1, G.options.latents, (), generator=generator))

    def latents(self, G: Generator, step: int, draw: int, rows: int, count: int) -> list[Tensor]:
        """`count` times z [rows, style_dim]."""
        generator = step_generator(self.seed, step, draw)
        everyones = torch.randn(count, rows * world_size(), G.options.style_dim, generator=generator)
        return list(mine(everyones, rows, dim=1).to(G.input.input.device))

    def noise(self, G: Generator, step: int, draw: int, rows: int) -> list[Tensor]:
        """Each layer's noise: [rows, 1, H, W]. Drawn where it is used, as it may be some millions of numbers a picture;
        a GPU's draws are others than a CPU's."""
        device = G.input.input.device
        drawing = torch.Generator(device).manual_seed(step_generator(self.seed, step, draw + 1).initial_seed())
        return [
            mine(torch.randn(rows * world_size(), *shape, generator=drawing, device=device), rows)
            for shape in G.noise_shapes()
        ]

    def augmented(self, pictures: Tensor, step: int, draw: int) -> Tensor:
        """Pictures [rows, C, H, W] as the discriminator sees them."""
        if not self.policy:
            return pictures
        rows = len(pictures)
        everyones = torch.rand(rows * world_size(), DRAWS, generator=step_generator(self.seed, step, draw))
        return diff_augment(pictures, self.policy, mine(everyones, rows).to(pictures.device))


def mine(x: Tensor, rows: int, dim: int = 0) -> Tensor:
    """This process' share of what was drawn for all of them: the rows that its pictures have in the batch."""
    if world_size() > 1:
        share = rows_of(rank(), world_size(), x.shape[dim], GROUP)
        x = x.index_select(dim, torch.tensor(share, device=x.device))
    assert x.shape[dim] == rows
    return x
