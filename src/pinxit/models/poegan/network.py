"""The generator of PoE-GAN (Huang et al. 2022, sec. 3): encoders, Global and Local PoE-Net, decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.poegan.config import MODALITIES, Network
from pinxit.models.poegan.encoders import SPATIAL, Down, LabelConv2d, Pyramid, first_of, leaky, of_those
from pinxit.models.poegan.experts import bounded, product, sample, wide
from pinxit.nn.norm import InstanceNorm2d


class Experts(NamedTuple):
    """What the inputs say of one latent."""

    mean: Tensor
    """[N, E, ...]."""
    log_variance: Tensor
    """[N, E, ...]."""
    present: Tensor
    """bool [N, E]."""
    names: tuple[str, ...]
    """Of the E modalities."""


class GlobalExpert(nn.Module):
    """A vector of a modality -> its expert of the global latent: an MLP."""

    def __init__(self, inputs: int, z_dim: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, z_dim)
        self.out = nn.Linear(z_dim, 2 * z_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[N, inputs] -> mean and log variance [N, z_dim]."""
        mean, log_variance = self.out(leaky(self.hidden(x))).chunk(2, dim=1)
        return mean, bounded(log_variance)


class LocalExpert(nn.Module):
    """The decoder's state and a modality's features of the same resolution -> its expert of the spatial latent there
    (Local PoE-Net)."""

    def __init__(self, state: int, features: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.of_state = nn.Conv2d(state, hidden, 1)
        self.of_features = nn.Conv2d(features, hidden, 1, bias=False)
        self.out = nn.Conv2d(hidden, 2 * latent, 3, padding=1)

    def forward(self, state: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """[N, state, h, w], [N, features, h, w] -> mean and log variance [N, latent, h, w]."""
        mean, log_variance = self.out(leaky(self.of_state(state) + self.of_features(leaky(features)))).chunk(2, dim=1)
        return mean, bounded(log_variance)


class LGAdaIN(nn.Module):
    """Local-global adaptive instance normalisation: features are normalised, scaled and shifted at each place by what
    the spatial latent says, and then as a whole by what w says (sec. 3.1).

    Both scales are offsets from 1.
    """

    def __init__(self, channels: int, local: int, z_dim: int) -> None:
        super().__init__()
        self.norm = InstanceNorm2d(channels)
        self.local = nn.Conv2d(local, 2 * channels, 1)
        self.of_w = nn.Linear(z_dim, 2 * channels)

    def forward(self, x: Tensor, local: Tensor, w: Tensor) -> Tensor:
        """x [N, C, h, w], features of the latent [N, local, h, w], w [N, z_dim] -> as x."""
        scale, shift = self.local(local).chunk(2, dim=1)
        scale_w, shift_w = self.of_w(w)[:, :, None, None].chunk(2, dim=1)
        return (self.norm(x) * (1 + scale) + shift) * (1 + scale_w) + shift_w


class DecoderBlock(nn.Module):
    """One resolution: the latent's experts, their product and a draw, and a residual block modulated by it."""

    def __init__(self, inputs: int, k: int, network: Network) -> None:
        super().__init__()
        outputs, latent = network.widths[k], network.latents[k]
        hidden = min(network.hidden, outputs)
        spatial = [name for name in SPATIAL if name in network.inputs]
        self.experts = nn.ModuleDict(
            {name: LocalExpert(outputs, network.encoder_widths[k], hidden, latent) for name in spatial}
        )
        self.local = nn.Conv2d(latent, hidden, 3, padding=1)
        self.enter = nn.Conv2d(inputs, outputs, 1)
        self.norm1, self.norm2 = (LGAdaIN(outputs, hidden, network.z_dim) for _ in range(2))
        self.conv1, self.conv2 = (nn.Conv2d(outputs, outputs, 3, padding=1) for _ in range(2))
        self.doubles = k > 0

    def forward(
        self, x: Tensor, w: Tensor, noise: Tensor, features: dict[str, Tensor], present: dict[str, Tensor]
    ) -> tuple[Tensor, Experts | None]:
        """x [N, inputs, h, w] of the resolution before, w [N, z_dim], noise [N, latent, 2 h, 2 w], features of what is
        given -> [N, outputs, 2 h, 2 w]; the first block does not double."""
        x = self.enter(x)
        if self.doubles:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        experts = joined({name: self.experts[name](x, features[name]) for name in features}, present)
        z = noise if experts is None else sample(*product(*experts[:3]), noise)
        local = leaky(self.local(z))
        y = self.conv1(leaky(self.norm1(x, local, w)))
        y = self.conv2(leaky(self.norm2(y, local, w)))
        return (y + x) * 0.5**0.5, experts


def joined(given: dict[str, tuple[Tensor, Tensor]], present: dict[str, Tensor]) -> Experts | None:
    """The experts of a latent side by side; None: none."""
    if not given:
        return None
    means, log_variances = zip(*given.values(), strict=True)
    there = torch.stack([present[name] for name in given], dim=1)
    return Experts(wide(torch.stack(means, 1)), wide(torch.stack(log_variances, 1)), there, tuple(given))


class Generator(nn.Module):
    """Pictures by any of a map, a sketch, a text and a style, or by none."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.options = network
        widths, inputs = network.encoder_widths, network.inputs
        spatial = {name: Pyramid(first_of(name, network, widths[-1]), widths) for name in SPATIAL if name in inputs}
        self.encoders = nn.ModuleDict(spatial)
        if "style" in inputs:
            # A style is read at half the size: it is nothing of single pixels.
            halved = widths[:-1] or widths
            first = nn.Sequential(nn.AvgPool2d(2), first_of("style", network, halved[-1]))
            self.encoders["style"] = Pyramid(first, halved, Down)
        of = {"text": network.text_width, "style": 2 * widths[0], "map": widths[0], "sketch": widths[0]}
        self.experts = nn.ModuleDict({n: GlobalExpert(of[n], network.z_dim) for n in MODALITIES if n in inputs})
        self.mapping = nn.ModuleList(nn.Linear(network.z_dim, network.z_dim) for _ in range(2))
        self.constant = nn.Parameter(torch.randn(1, network.widths[0], *network.sizes[0]))
        befores = (network.widths[0], *network.widths)
        self.blocks = nn.ModuleList(DecoderBlock(befores[k], k, network) for k in range(len(network.widths)))
        self.out = nn.Conv2d(network.widths[-1], 3, 3, padding=1)
        draw(self)
        # Pictures begin in the middle of the range, not at the ends of tanh, where gradients vanish.
        with torch.no_grad():
            self.out.weight.mul_(0.1)

    def noise_shapes(self) -> list[tuple[int, ...]]:
        """Of the noise that a picture takes: of the global latent, and of each resolution's, smallest first."""
        spatial = zip(self.options.latents, self.options.sizes, strict=True)
        return [(self.options.z_dim,), *((channels, *size) for channels, size in spatial)]

    def forward(
        self,
        noise: Sequence[Tensor],
        labels: Tensor | None,
        sketch: Tensor | None,
        text: Tensor | None,
        style: Tensor | None,
        present: Tensor,
    ) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1].

        noise: standard normal, [N, *shape] of each of `noise_shapes`. labels int64 [N, H, W]; sketch [N, 1, H, W], 1 is
        line; text embeddings [N, text_width]; style, a photo [N, 3, H, W] in [-1, 1]; None where no picture has it.
        present bool [N, 4] in the order of `MODALITIES`: what is not present has no influence at all.
        """
        return self.traced(noise, labels, sketch, text, style, present)[0]

    def traced(
        self,
        noise: Sequence[Tensor],
        labels: Tensor | None,
        sketch: Tensor | None,
        text: Tensor | None,
        style: Tensor | None,
        present: Tensor,
    ) -> tuple[Tensor, list[Experts]]:
        """As `forward`, and the experts of each latent that had any, the global one first."""
        given = dict(zip(MODALITIES, (labels, sketch, text, style), strict=True))
        given = {name: x for name, x in given.items() if x is not None and name in self.options.inputs}
        there = {name: present[:, MODALITIES.index(name)] for name in given}
        pyramids = {name: of_those(self.encoders[name], x, there[name]) for name, x in given.items() if name != "text"}
        vectors = {name: text if name == "text" else pooled(pyramids[name][0], name) for name in given}
        of_global = joined({name: self.experts[name](vectors[name]) for name in given}, there)
        told = [of_global]
        z = noise[0] if of_global is None else sample(*product(*of_global[:3]), noise[0])
        w = z
        for layer in self.mapping:
            w = leaky(layer(w))
        x = self.constant.expand(len(noise[0]), -1, -1, -1)
        for k, block in enumerate(self.blocks):
            skips = {name: pyramids[name][k] for name in SPATIAL if name in given}
            x, experts = block(x, w, noise[k + 1], skips, there)
            told.append(experts)
        return torch.tanh(wide(self.out(leaky(x)))), [experts for experts in told if experts is not None]


def pooled(x: Tensor, modality: str) -> Tensor:
    """Features [N, C, h, w] as a vector: their means over places; of a style their deviations too, [N, 2 C]."""
    x = wide(x)
    mean = x.mean(dim=(2, 3))
    if modality != "style":
        return leaky(mean)
    return torch.cat([mean, (x - mean[:, :, None, None]).square().mean(dim=(2, 3)).add(1e-6).sqrt()], dim=1)


def draw(network: nn.Module) -> None:
    """Initial weights: He et al. 2015, for leaky ReLU of slope 0.2; what modulates and what says what an expert is sure
    of begins small."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # A label map has one channel that is not 0.
            fan = 9 if isinstance(module, LabelConv2d) else module.weight[0].numel()
            nn.init.normal_(module.weight, std=(2 / 1.04 / fan) ** 0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, LGAdaIN):
            with torch.no_grad():
                module.local.weight.mul_(0.5)
                module.of_w.weight.mul_(0.5)
        if isinstance(module, GlobalExpert | LocalExpert):
            with torch.no_grad():
                module.out.weight[len(module.out.weight) // 2 :].mul_(0.1)
