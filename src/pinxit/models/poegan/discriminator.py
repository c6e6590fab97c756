"""The multimodal multiscale projection discriminator of PoE-GAN (Huang et al. 2022, sec. 3.2)."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinxit.models.poegan.config import MODALITIES, Network
from pinxit.models.poegan.encoders import SPATIAL, Down, Pyramid, first_of, leaky, of_those
from pinxit.models.poegan.experts import wide
from pinxit.models.poegan.network import draw

STATISTICS = 18
"""Numbers that `statistics` gives of a photo."""


class Judged(NamedTuple):
    """What the discriminator says of pictures."""

    logits: list[Tensor]
    """[N, h, w] of each scale, smallest first, after one of the picture as a whole, [N]."""
    features: Tensor
    """[N, F]: the mean over places of each scale's, for contrastive losses."""


def statistics(photo: Tensor) -> Tensor:
    """The style of photos [N, 3, H, W]: means and deviations of the colours, of the photo as it is and blurred over 4
    and 8 pixels, [N, 18]. The smaller the deviations get by a blur, the finer is the texture."""
    found = []
    for side in (1, 4, 8):
        x = F.avg_pool2d(wide(photo), side)
        mean = x.mean(dim=(2, 3))
        found += [mean, (x - mean[:, :, None, None]).square().mean(dim=(2, 3)).add(1e-6).sqrt()]
    return torch.cat(found, dim=1)


class Discriminator(nn.Module):
    """Real or made? D(x, Y) = linear(f(x)) + the sum over the y that are present of <f(x), e(y)> / root of channels, at
    every place of the `d_scales` smallest resolutions, and of the picture as a whole.

    A map and a sketch are encoded at each of these scales; a text and a style are vectors, the same at every place.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.options = network
        widths, inputs = network.d_widths, network.inputs
        judged = list(widths[: network.d_scales])
        self.photo = Pyramid(first_of("photo", network, widths[-1]), widths, Down)
        self.encoders = nn.ModuleDict(
            {
                name: Pyramid(first_of(name, network, network.encoder_widths[-1]), network.encoder_widths)
                for name in SPATIAL
                if name in inputs
            }
        )
        vectors = {"text": network.text_width, "style": STATISTICS}
        for name in inputs:
            if name in vectors:
                self.encoders[name] = nn.Sequential(
                    nn.Linear(vectors[name], network.z_dim), nn.LeakyReLU(0.2), nn.Linear(network.z_dim, network.z_dim)
                )
        # One for the picture as a whole, which has the features of the smallest scale, and one for each scale.
        self.unconditional = nn.ModuleList([nn.Linear(judged[0], 1), *(nn.Conv2d(c, 1, 1) for c in judged)])
        self.projections = nn.ModuleDict({name: self.projection(name, judged) for name in MODALITIES if name in inputs})
        self.whole = nn.Linear(judged[0], judged[0])
        self.of_picture = nn.Linear(sum(judged), network.z_dim)
        self.of_text = nn.Linear(network.text_width, network.z_dim) if "text" in inputs else None
        draw(self)

    def projection(self, name: str, judged: list[int]) -> nn.ModuleList:
        """From a modality's features to the channels of the photo's, as a whole and at each scale."""
        if name not in SPATIAL:
            return nn.ModuleList(nn.Linear(self.options.z_dim, c) for c in [judged[0], *judged])
        widths = self.options.encoder_widths
        scales = (nn.Conv2d(e, c, 1) for e, c in zip(widths, judged, strict=False))
        return nn.ModuleList([nn.Linear(widths[0], judged[0]), *scales])

    def embedded(
        self,
        labels: Tensor | None,
        sketch: Tensor | None,
        text: Tensor | None,
        style: Tensor | None,
        present: Tensor,
    ) -> dict[str, list[Tensor]]:
        """Of each input its e(y): [N, C] of the picture as a whole, then [N, C, h, w] of each scale, or [N, C, 1, 1].
        Shapes as for the generator; rows of what is not present mean nothing."""
        found = {}
        given = {"map": labels, "sketch": sketch, "text": text, "style": style}
        for name, x in given.items():
            if x is None or name not in self.projections:
                continue
            of_whole, *of_scales = cast(nn.ModuleList, self.projections[name])
            there = present[:, MODALITIES.index(name)]
            if name in SPATIAL:
                features = [leaky(f) for f in of_those(self.encoders[name], x, there)[: self.options.d_scales]]
                scales = [conv(f) for conv, f in zip(of_scales, features, strict=True)]
                found[name] = [of_whole(features[0].mean(dim=(2, 3))), *scales]
            else:
                vector = leaky(self.encoders[name](statistics(x) if name == "style" else x))
                found[name] = [of_whole(vector), *(linear(vector)[:, :, None, None] for linear in of_scales)]
        return found

    def forward(self, picture: Tensor, embedded: dict[str, list[Tensor]], present: Tensor) -> Judged:
        """picture [M, 3, H, W] in [-1, 1]; M may be a multiple of the N that `embedded` and `present` bool [N, 4] are
        of: real and made pictures of the same inputs, one batch behind the other."""
        times = len(picture) // len(present)
        scales = [leaky(f) for f in self.photo(picture)[: self.options.d_scales]]
        means = [wide(f).mean(dim=(2, 3)) for f in scales]
        whole = leaky(self.whole(means[0]))
        logits = []
        for i, f in enumerate([whole, *scales]):
            logit = wide(self.unconditional[i](f)[:, 0])
            for name, e in embedded.items():
                there = present[:, MODALITIES.index(name)].repeat(times).view(-1, *[1] * (f.ndim - 2))
                # Each batch of pictures by the same inputs.
                matched = wide(torch.cat([(part * e[i]).sum(dim=1) for part in f.chunk(times)]))
                logit = logit + torch.where(there, matched, 0.0) * f.shape[1] ** -0.5
            logits.append(logit)
        return Judged(logits, torch.cat(means, dim=1))
